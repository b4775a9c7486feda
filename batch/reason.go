package batch

import (
	"maps"

	"expunge/batch/decide"
	"expunge/batch/intake"
	"expunge/vendors"
)

// Reasons explains every reason code that a report can hold: the closed list.
func Reasons() map[vendors.Reason]string {
	all := decide.Reasons()
	maps.Copy(all, intake.Reasons)
	return all
}
