package packaging

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestKubernetes: the manifest is what Kubernetes' own types say, without a field that they do not
// have; every volume that is mounted is there; nothing runs as root or can write to its own image.
func TestKubernetes(t *testing.T) {
	text, err := os.ReadFile("kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cron batchv1.CronJob
	var config corev1.ConfigMap
	var claim corev1.PersistentVolumeClaim
	docs := bytes.Split(text, []byte("\n---\n"))
	if len(docs) != 3 {
		t.Fatalf("%d documents", len(docs))
	}
	for i, into := range []any{&config, &cron, &claim} {
		if err := yaml.UnmarshalStrict(docs[i], into); err != nil {
			t.Errorf("document %d: %v", i+1, err)
		}
	}
	pod := cron.Spec.JobTemplate.Spec.Template.Spec
	var volumes []string
	for _, v := range pod.Volumes {
		volumes = append(volumes, v.Name)
		switch {
		case v.ConfigMap != nil && v.ConfigMap.Name != config.Name, v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName != claim.Name:
			t.Errorf("volume %s is of something that is not there", v.Name)
		}
	}
	all := append(slices.Clone(pod.InitContainers), pod.Containers...)
	if len(all) != 3 || all[1].RestartPolicy == nil || *all[1].RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("%d containers, and the second is to be a sidecar", len(all))
	}
	for _, c := range all {
		s := c.SecurityContext
		if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
			t.Errorf("container %s: %+v", c.Name, s)
		}
		for _, m := range c.VolumeMounts {
			if !slices.Contains(volumes, m.Name) {
				t.Errorf("container %s mounts %s, which is not there", c.Name, m.Name)
			}
			if _, ok := config.Data[m.SubPath]; m.Name == "config" && !ok {
				t.Errorf("container %s mounts %s of the config, which has none", c.Name, m.SubPath)
			}
		}
	}
	if pod.SecurityContext == nil || pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot || cron.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
		t.Error("as root, or two at once")
	}
	if !strings.Contains(config.Data["expunge.yaml"], "head_file:") {
		t.Error("a replica that is behind would not be noticed")
	}
}
