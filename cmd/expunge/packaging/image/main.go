// Command image writes a container image as an OCI archive, without a daemon or a registry:
// one layer with the static program, the certificates of this machine's authorities, and a
// user who is not root. It has nothing else: no shell, no libraries.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// uid is nobody on any system that the image runs on, so that what it may do is what the
// volume's owner gave it.
const uid = 65532

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: image PROGRAM CERTIFICATES VERSION FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// write makes an OCI layout in a folder.
func write(program, certificates, version, folder string) error {
	content, err := files(program, certificates)
	if err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), l)
	if err != nil {
		return err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return err
	}
	cfg = cfg.DeepCopy()
	cfg.Architecture, cfg.OS = "amd64", "linux"
	cfg.Config = v1.Config{
		User:       fmt.Sprintf("%d:%d", uid, uid),
		Entrypoint: []string{"/usr/bin/expunge"},
		Cmd:        []string{"help"},
		WorkingDir: "/var/lib/expunge",
		Volumes:    map[string]struct{}{"/var/lib/expunge": {}},
		Labels:     map[string]string{"org.opencontainers.image.title": "expunge", "org.opencontainers.image.version": version},
	}
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		return err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	tag := "expunge:" + strings.ReplaceAll(version, "+", "-") // a tag has no plus sign
	return path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag}))
}

// files is the layer: the same bytes from the same input, whenever it is made.
func files(program, certificates string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var errs []error
	add := func(name string, mode int64, owner int, from string) {
		h := &tar.Header{Name: name, Mode: mode, Uid: owner, Gid: owner, ModTime: time.Unix(0, 0), Format: tar.FormatPAX, Typeflag: tar.TypeDir}
		var content []byte
		if from != "" {
			var err error
			content, err = os.ReadFile(from)
			errs = append(errs, err)
			h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
		}
		errs = append(errs, w.WriteHeader(h))
		_, err := w.Write(content)
		errs = append(errs, err)
	}
	for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/", "usr/", "usr/bin/", "var/", "var/lib/"} {
		add(dir, 0o755, 0, "")
	}
	add("tmp/", 0o1777, 0, "")
	add("var/lib/expunge/", 0o700, uid, "")
	add("etc/ssl/certs/ca-certificates.crt", 0o644, 0, certificates)
	add("usr/bin/expunge", 0o755, 0, program)
	errs = append(errs, w.Close())
	return b.Bytes(), errors.Join(errs...)
}
