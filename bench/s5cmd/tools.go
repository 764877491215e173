//go:build tools

// Pins the peer of the snapshot benchmark.
package tools

import _ "github.com/peak/s5cmd/v2"
