package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"expunge/vendors/sim"
)

// manifest is what expunge writes beside each export that it keeps.
type manifest struct {
	File      string `json:"file"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"`
	Vendor    string `json:"vendor"`
	Reference string `json:"reference"`
	Empty     bool   `json:"empty"`
}

// Exports compares the folder in which expunge keeps exports with what the simulator handed
// out: every result that left it whole must be there, or the fact that it was empty, and
// nothing else may be. It returns how many it found. The files are encrypted: what is in
// them cannot be judged here.
func Exports(facts Facts, vs []Vendor, dir string) (found int, problems []Problem, err error) {
	kept, problems, err := manifests(dir)
	if err != nil {
		return 0, nil, err
	}
	handed := map[string]bool{}
	for _, e := range facts.Ledger {
		if e.Op != "export-result" || e.Status != http.StatusOK || e.Fault != sim.NoFault {
			continue
		}
		name := e.Account
		for _, v := range vs {
			if v.Kind == e.Kind && (v.Account == "" || v.Account == e.Account) {
				name = v.Name
			}
		}
		handed[e.JID] = true
		m, ok := kept[e.JID]
		switch {
		case !ok:
			problems = append(problems, Problem{Vendor: name, What: "export " + e.JID + " was handed out and is not in the folder"})
		case m.Vendor != name:
			problems = append(problems, Problem{Vendor: name, What: "export " + e.JID + " is kept as one of " + m.Vendor})
		default:
			found++
		}
	}
	for ref, m := range kept {
		if !handed[ref] {
			problems = append(problems, Problem{Vendor: m.Vendor, What: "export " + ref + " is kept and was never handed out"})
		}
	}
	return found, problems, nil
}

func manifests(dir string) (map[string]manifest, []Problem, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, nil, err
	}
	kept := map[string]manifest{}
	var problems []Problem
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		var m manifest
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		kept[m.Reference] = m
		if what := m.judge(dir); what != "" {
			problems = append(problems, Problem{Vendor: m.Vendor, What: "export " + m.Reference + ": " + what})
		}
	}
	return kept, problems, nil
}

// judge says what is wrong with the file of a manifest.
func (m *manifest) judge(dir string) string {
	if m.Empty {
		if m.File != "" {
			return "it is empty and has a file"
		}
		return ""
	}
	f, err := os.Open(filepath.Join(dir, filepath.Base(m.File)))
	if errors.Is(err, fs.ErrNotExist) {
		return "its file is missing"
	}
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	head := make([]byte, len(ageHeader))
	if _, err := io.ReadFull(f, head); err != nil || !strings.HasPrefix(string(head), ageHeader) {
		return "its file is not encrypted with age"
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err.Error()
	}
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	switch {
	case err != nil:
		return err.Error()
	case n != m.Bytes || hex.EncodeToString(sum.Sum(nil)) != m.SHA256:
		return "its file differs from its manifest"
	}
	return ""
}

// ageHeader is how every file of age begins.
const ageHeader = "age-encryption.org/v1\n"
