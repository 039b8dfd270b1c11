//go:build !race

package voipcore

// oneProcessor does nothing: see race_on_test.go.
func oneProcessor() (undo func()) { return func() {} }
