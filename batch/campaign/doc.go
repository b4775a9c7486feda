// Package campaign holds the tests that run the real programs against the simulator and
// make everything go wrong on the way: kill -9 at any instant, answers that get lost, disks
// that are full, stores that vanish, signals, vendors that are down.
//
// It has no code of its own. `make crash`, `make faults`, `make wrong` and `make proof` run its
// campaigns in full; `go test` runs short versions. What it promises is what it judges by: the
// simulator's ledger, the store's rows read with plain SQL, and the report read with
// encoding/csv, never the program's own word. The simulator shares no code with the vendor
// adapters.
//
// It does not simulate a power loss: a killed process leaves to the kernel what it wrote.
// What covers a power loss is synchronous=FULL (package store).
package campaign
