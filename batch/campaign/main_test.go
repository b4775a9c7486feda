package campaign

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
)

var (
	flagKills = flag.Int("kills", 0, "how many times TestCrash kills the program; 0: the short version")
	flagSeed  = flag.Uint64("seed", 1, "seed of TestCrash's inputs, faults and instants")
	flagOnly  = flag.String("only", "", "only the cases of TestWrong and TestFaults, and the changes of TestProof, whose names match this expression")
	flagWhole = flag.Bool("whole", false, "TestFaults and TestWrong are made with every shipped recipe, TestProof with every byte and row; otherwise with a few")
	// Without it the replica of TestReplica is the last of the backups that are made all the time: a
	// store of a moment before, as well.
	flagLitestream = flag.String("litestream", "", "the program that replicates (make litestream)")
	flagRate       = flag.Duration("rate-for", 0, "how long TestRate keeps each limit busy; 0: the short version")
)

// programs are the real binaries, built once for all tests.
var programs struct {
	once    sync.Once
	dir     string
	err     error
	expunge string
	sim     string
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// build makes the programs. They are built as users build them, without a test's hooks.
func build(t *testing.T) {
	t.Helper()
	p := &programs
	p.once.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "campaign-bin-"); p.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", p.dir+string(filepath.Separator), "expunge/cmd/expunge", "expunge/cmd/vendorsim")
		if out, err := cmd.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
		p.expunge, p.sim = filepath.Join(p.dir, "expunge"), filepath.Join(p.dir, "vendorsim")
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
}

// only returns those of a campaign's cases that -only names.
func only[T any](cases []T, name func(T) string) []T {
	if *flagOnly == "" {
		return cases
	}
	wanted := regexp.MustCompile(*flagOnly)
	return slices.DeleteFunc(cases, func(c T) bool { return !wanted.MatchString(name(c)) })
}
