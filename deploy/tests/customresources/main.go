// Reads the documents of a YAML file and holds those of Istio and the Prometheus operator to their own types: an unknown key, a wrong
// type or an unknown kind of theirs fails.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	"sigs.k8s.io/yaml"
)

// What Kubernetes itself defines is judged by its own schemas.
var builtIn = map[string]bool{"v1": true, "apps/v1": true, "policy/v1": true, "networking.k8s.io/v1": true}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	for _, document := range strings.Split(string(text), "\n---\n") {
		if err := check([]byte(document)); err != nil {
			fail(fmt.Errorf("%s: %w\n%s", os.Args[1], err, document))
		}
	}
}

func check(document []byte) error {
	var head struct {
		APIVersion string          `json:"apiVersion"`
		Kind       string          `json:"kind"`
		Spec       json.RawMessage `json:"spec"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		return err
	}
	if head.Kind == "" || builtIn[head.APIVersion] {
		return nil
	}
	name := head.APIVersion + " " + head.Kind
	var err error
	switch name {
	case "monitoring.coreos.com/v1 ServiceMonitor":
		err = yaml.UnmarshalStrict(document, &monitoring.ServiceMonitor{})
	case "monitoring.coreos.com/v1 PrometheusRule":
		err = yaml.UnmarshalStrict(document, &monitoring.PrometheusRule{})
	case "networking.istio.io/v1 Sidecar":
		err = strict(head.Spec, &networking.Sidecar{})
	case "security.istio.io/v1 PeerAuthentication":
		err = strict(head.Spec, &security.PeerAuthentication{})
	default:
		err = fmt.Errorf("unknown kind")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Println(name, "passed")
	return nil
}

func strict(spec json.RawMessage, into proto.Message) error {
	return protojson.Unmarshal(bytes.TrimSpace(spec), into)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
