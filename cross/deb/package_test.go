package deb

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// built returns the package that make deb has made of this tree.
func built(t *testing.T, arch string) string {
	t.Helper()
	version := output(t, "./version")
	file, err := filepath.Abs("../../bin/hushbell_" + version + "_" + arch + ".deb")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("make deb first: %v", err)
	}
	return file
}

var architectures = []string{"armhf", "arm64", "amd64"}

// Debian's own checker finds no error, nothing to warn of and nothing to be pedantic
// about, beside what lintian-overrides has a reason for.
func TestLintian(t *testing.T) {
	need(t, "lintian", "man")
	for _, arch := range architectures {
		command := []string{"lintian", "-E", "--pedantic", "--fail-on", "error,warning,pedantic,experimental", built(t, arch)}
		if os.Geteuid() == 0 {
			command = slices.Insert(command, 1, "--allow-root")
		}
		if out, err := try(t, command...); err != nil {
			t.Errorf("%s: %v\n%s", arch, err, out)
		}
	}
}

// The package has the units, the user, and what belongs to a Debian package;
// the program in it is static, and of the processors that it is for.
func TestContents(t *testing.T) {
	need(t, "dpkg-deb", "file")
	kinds := map[string]string{"armhf": "ARM, EABI5", "arm64": "ARM aarch64", "amd64": "x86-64"}
	builds := map[string]string{"armhf": "GOARM=6", "arm64": "GOARCH=arm64", "amd64": "GOARCH=amd64"}
	for _, arch := range architectures {
		deb, dir := built(t, arch), t.TempDir()
		output(t, "dpkg-deb", "-R", deb, dir)
		for _, file := range []string{
			"usr/lib/systemd/system/hushbell.service", "usr/lib/systemd/system/hushbell-relay.service", "usr/lib/systemd/user/hushbell.service",
			"usr/lib/systemd/system-preset/80-hushbell.preset", "usr/lib/systemd/user-preset/80-hushbell.preset",
			"usr/lib/sysusers.d/hushbell.conf", "usr/lib/tmpfiles.d/hushbell.conf", "usr/lib/udev/rules.d/60-hushbell.rules",
			"etc/hushbell/hushbell.toml", "usr/share/doc/hushbell/examples/relay.toml", "usr/share/doc/hushbell/licences.gz",
			"usr/share/man/man1/hushbell.1.gz", "usr/share/bash-completion/completions/hushbell", "usr/share/zsh/vendor-completions/_hushbell",
			"usr/share/fish/vendor_completions.d/hushbell.fish", "usr/share/doc/hushbell/copyright", "usr/share/doc/hushbell/changelog.gz",
		} {
			if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %s: %v", arch, file, err)
			}
		}
		if got := output(t, "dpkg-deb", "-f", deb, "Architecture"); got != arch {
			t.Errorf("the package is for %s, want %s", got, arch)
		}
		program := filepath.Join(dir, "usr/bin/hushbell")
		if build := output(t, "go", "version", "-m", program); !strings.Contains(build, builds[arch]) {
			t.Errorf("%s: the program was not built with %s:\n%s", arch, builds[arch], build)
		}
		if arch == "amd64" {
			if got, want := output(t, program, "version"), output(t, "git", "describe", "--tags", "--always", "--dirty"); !strings.Contains(got, want) {
				t.Errorf("the program says that it is %q, git that it is %q", got, want)
			}
		}
		kind := output(t, "file", "-b", program)
		if !strings.Contains(kind, kinds[arch]) || !strings.Contains(kind, "statically linked") || !strings.Contains(kind, "stripped") || strings.Contains(kind, "not stripped") {
			t.Errorf("%s: the program is %q", arch, kind)
		}
	}
}

// The licences of all that is in the program are there in full, and where the source
// is of what is under the Mozilla Public License.
func TestLicences(t *testing.T) {
	need(t, "dpkg-deb", "gzip")
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", built(t, "amd64"), dir)
	text := output(t, "gzip", "-dc", filepath.Join(dir, "usr/share/doc/hushbell/licences.gz"))
	if strings.Contains(text, "without the text of a licence") {
		t.Error("the text of a licence is missing")
	}
	covered := 0
	for _, part := range strings.Split(text, strings.Repeat("=", 72)+"\n")[1:] {
		modules, licence, _ := strings.Cut(part, "\n\n")
		if !strings.Contains(licence, "Mozilla Public License") {
			continue
		}
		for module := range strings.SplitSeq(modules, "\n") {
			covered++
			path, version, _ := strings.Cut(module, " ")
			if source := "https://" + regexp.MustCompile(`/v[0-9]+$`).ReplaceAllString(path, "") + ", as its version " + version + "\n"; !strings.Contains(licence, source) {
				t.Errorf("it is not said that the source of %s is at %s", module, source)
			}
		}
	}
	if covered == 0 {
		t.Error("nothing is under the Mozilla Public License: is the text still as it is read here?")
	}
}

// The manual page has every command of the program, and man has nothing to say
// against it.
func TestManual(t *testing.T) {
	need(t, "man", "dpkg-deb")
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", built(t, "amd64"), dir)
	page := filepath.Join(dir, "usr/share/man/man1/hushbell.1.gz")
	text := output(t, "env", "MANWIDTH=100", "LC_ALL=C.UTF-8", "man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", page)
	text = regexp.MustCompile(`\x1b\[[0-9;]*m|.\x08`).ReplaceAllString(text, "") // bold and underlined
	if strings.Contains(text, "warning:") {
		t.Errorf("man warns:\n%s", text)
	}
	for _, want := range []string{"hushbell run", "hushbell relay", "hushbell pid show", "hushbell contact add", "hushbell status", "--config", "EXIT STATUS"} {
		if !strings.Contains(text, want) {
			t.Errorf("the manual page lacks %q", want)
		}
	}
}

// Two builds of a commit give the same bytes: what make deb has built here, and
// what it builds in a clone elsewhere, for somebody with other settings.
func TestReproducible(t *testing.T) {
	need(t, "git", "make")
	if output(t, "git", "status", "--porcelain", "--untracked-files=no") != "" {
		missing(t, "there are changes that no clone has: commit them first")
	}
	clone := filepath.Join(t.TempDir(), "somewhere", "else")
	output(t, "git", "clone", "--quiet", "--no-local", "../..", clone)
	output(t, "env", "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8",
		"GOAMD64=v3", "GOARM=7,softfloat", "GOARM64=v8.1,lse", "GO386=softfloat", "GOEXPERIMENT=nodwarf5", "GOFIPS140=latest", "CGO_ENABLED=1",
		"sh", "-ec", "umask 077; make -C \"$0\" cross deb", clone)
	files := []string{"bin/linux-armv6/hushbell", "bin/linux-armv7/hushbell", "bin/linux-arm64/hushbell", "bin/linux-amd64/hushbell"}
	for _, arch := range architectures {
		files = append(files, filepath.Join("bin", filepath.Base(built(t, arch))))
	}
	for _, file := range files {
		if out, err := try(t, "cmp", filepath.Join("../..", file), filepath.Join(clone, file)); err != nil {
			t.Errorf("built twice: %v: %s", err, out)
		}
	}
}
