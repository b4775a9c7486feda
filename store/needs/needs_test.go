package needs

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNeeds: a build without cgo, or for a system that is no Unix, ends with one sentence, and what
// needs this package is not even tried.
func TestNeeds(t *testing.T) {
	for env, says := range map[string]string{
		"CGO_ENABLED=0": "expunge_is_built_with_cgo_for_SQLite__install_gcc_and_set_CGO_ENABLED_to_1",
		"GOOS=windows":  "expunge_is_built_for_Linux_or_another_Unix__its_durable_files_and_locks_are_theirs",
		"GOOS=plan9":    "expunge_is_built_for_Linux_or_another_Unix__its_durable_files_and_locks_are_theirs",
		"CGO_ENABLED=1": "",
	} {
		cmd := exec.Command("go", "build", ".")
		cmd.Env = append(os.Environ(), env)
		out, err := cmd.CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if says == "" && err != nil || says != "" && (err == nil || len(lines) != 2 || !strings.HasSuffix(lines[1], "undefined: "+says)) {
			t.Errorf("%s: %v\n%s", env, err, out)
		}
	}
	out, err := exec.Command("go", "list", "-f", "{{.Imports}}", "expunge/store").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "expunge/store/needs") {
		t.Errorf("the store does not need it: %v\n%s", err, out)
	}
}
