package deb

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Versions grow with the tags and with the commits between them, and a tag must
// be that of the newest entry of the changelog.
func TestVersion(t *testing.T) {
	need(t, "git", "dpkg")
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		output(t, append([]string{"git", "-C", dir, "-c", "user.name=tester", "-c", "user.email=tester@hushbell.example",
			"-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"}, args...)...)
	}
	commit := func(changelog string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "changelog"), []byte(changelog), 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", ".")
		git("commit", "--quiet", "--message=test")
	}
	version := filepath.Join(dir, "version")
	output(t, "cp", "version", dir)
	git("init", "--quiet")

	commit("hushbell (1.0~rc1) stable; urgency=medium\n")
	versions := []string{output(t, version)}
	git("tag", "v1.0-rc1")
	versions = append(versions, output(t, version))
	commit("hushbell (1.0) stable; urgency=medium\n")
	versions = append(versions, output(t, version))
	git("tag", "v0.9")
	if out, err := try(t, version); err == nil || !strings.Contains(out, "the tag is v0.9, and cross/deb/changelog begins with 1.0") {
		t.Errorf("of a tag without an entry: %q, %v", out, err)
	}
	git("tag", "--delete", "v0.9")
	git("tag", "v1.0")
	versions = append(versions, output(t, version))
	commit("hushbell (1.1) stable; urgency=medium\n")
	versions = append(versions, output(t, version))

	for i, want := range []string{`0~\d{14}\.g[0-9a-f]+`, `1\.0~rc1`, `1\.0~rc1\+1\.g[0-9a-f]+`, `1\.0`, `1\.0\+1\.g[0-9a-f]+`} {
		if !regexp.MustCompile("^" + want + "$").MatchString(versions[i]) {
			t.Errorf("version %d is %q, want %s", i, versions[i], want)
		}
		if i > 0 {
			if _, err := try(t, "dpkg", "--compare-versions", versions[i-1], "lt", versions[i]); err != nil {
				t.Errorf("%q is not older than %q", versions[i-1], versions[i])
			}
		}
	}
}

// The changelog is one to Debian's tools, its versions grow, and the package has
// it with its own version first.
func TestChangelog(t *testing.T) {
	need(t, "dpkg", "dpkg-deb", "dpkg-parsechangelog")
	read := func(file string) []string {
		t.Helper()
		out := output(t, "dpkg-parsechangelog", "--file", file, "--all", "--format", "rfc822", "--show-field", "Version")
		if strings.Contains(out, "warning:") {
			t.Errorf("%s: %s", file, out)
		}
		return strings.Fields(out)
	}
	versions := read("changelog")
	if len(versions) == 0 {
		t.Fatal("the changelog has no entry")
	}
	for i, v := range versions[1:] {
		if _, err := try(t, "dpkg", "--compare-versions", v, "lt", versions[i]); err != nil {
			t.Errorf("%s stands below %s", v, versions[i])
		}
	}
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", built(t, "amd64"), dir)
	packed := filepath.Join(dir, "usr/share/doc/hushbell/changelog")
	output(t, "gzip", "-d", packed+".gz")
	if got, want := read(packed)[0], output(t, "./version"); got != want {
		t.Errorf("the changelog of the package begins with %s, want %s", got, want)
	}
}

// What the playbook has one type exists: targets of make, and files of the tree.
func TestPlaybook(t *testing.T) {
	need(t, "make")
	text, err := os.ReadFile("../RELEASE.md")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`\bmake (?:-C \S+ )?([a-z][a-z0-9-]*)`).FindAllStringSubmatch(string(text), -1)
	if len(targets) == 0 {
		t.Error("the playbook makes nothing")
	}
	for _, target := range targets {
		if out, err := try(t, "make", "-C", "../..", "--dry-run", target[1]); err != nil {
			t.Errorf("%s: %v\n%s", target[0], err, out)
		}
	}
	if !strings.Contains(string(text), "        .ci/run ") {
		t.Error("the playbook must have .ci/run run: make test alone leaves out what misses a tool")
	}
	files := regexp.MustCompile(`\.ci/run|\b(?:cross|device|voipcore|systemd)/[\w./-]*\w`).FindAllString(string(text), -1)
	if len(files) == 0 {
		t.Error("the playbook names no file")
	}
	for _, file := range files {
		if _, err := os.Stat(filepath.Join("../..", file)); err != nil {
			t.Error(err)
		}
	}
}
