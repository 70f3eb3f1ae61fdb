// Package tig declares the only name of the test framework that nerdctl's
// program, rather than its tests, is compiled against.
package tig

// T is the part of *testing.T that nerdctl's test code calls.
type T interface {
	FailNow()
	Log(args ...any)
}
