{{- define "mts.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "mts.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else if contains (include "mts.name" .) .Release.Name }}
{{- .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "mts.name" .) | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "mts.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mts.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mts.labels" -}}
{{ include "mts.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "mts.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mts.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "mts.image" -}}
{{- $repository := required "image.repository: required; push the image of deploy/docker/Dockerfile to your registry and name it here" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "mts.secretsDir" -}}/run/secrets/metabase-token-service{{- end }}
{{- define "mts.tlsDir" -}}/run/tls/metabase-token-service{{- end }}

{{/* The part of the configuration whose change takes a restart. What config.server ends with may be another table than [server]:
[server.tls] may follow it all the same. */}}
{{- define "mts.server" -}}
[server]
listen = "{{ if .Values.mesh.istio.enabled }}127.0.0.1{{ else }}0.0.0.0{{ end }}:{{ .Values.ports.grpc }}"
probe_listen = "0.0.0.0:{{ .Values.ports.probe }}"
metrics_listen = "0.0.0.0:{{ .Values.ports.metrics }}"
{{ with .Values.config.server }}{{ trim . }}
{{ end }}
{{- if .Values.tls.existingSecret }}
[server.tls]
certificate = "{{ include "mts.tlsDir" . }}/{{ .Values.tls.certificateKey }}"
private_key = "{{ include "mts.tlsDir" . }}/{{ .Values.tls.privateKeyKey }}"
{{- with .Values.tls.clientCAKey }}
client_ca = "{{ include "mts.tlsDir" $ }}/{{ . }}"
{{- end }}
{{- with .Values.tls.clientCRLKey }}
client_crl = "{{ include "mts.tlsDir" $ }}/{{ . }}"
{{- end }}
{{ end }}
{{- end }}

{{/* What values.schema.json cannot say. */}}
{{- define "mts.validate" -}}
{{- $v := .Values }}
{{- $text := printf "%s\n%s" $v.config.server $v.config.policy }}
{{- if not (trim $v.config.policy) }}
{{- fail "config.policy: required; TOML with [[instances]] and [[callers]], see docs/configuration.md" }}
{{- end }}
{{- if regexMatch "(?m)^\\s*\\[\\s*server\\s*\\]" $text }}
{{- fail "config: must not open [server] again; the chart does, and config.server goes on inside it" }}
{{- end }}
{{- if regexMatch "(?m)^\\s*(probe_listen|metrics_listen|listen)\\s*=" $v.config.server }}
{{- fail "config.server: must not set listen, probe_listen or metrics_listen; the chart does, with the values in `ports`" }}
{{- end }}
{{- $drain := 0 }}
{{- range $key, $seconds := dict "announce_delay" "5" "grace_period" "10" }}
{{- $set := regexFind (printf "(?m)\\b%s\\s*=\\s*\"[0-9]+s\"" $key) $v.config.server }}
{{- $drain = add $drain (ternary (regexFind "[0-9]+" $set) $seconds (ne $set "") | int) }}
{{- end }}
{{- if gt $drain (int $v.drainSeconds) }}
{{- fail (printf "drainSeconds: must be at least %d, which is announce_delay + grace_period of config.server; a pod that ends earlier is killed in the midst of its drain" $drain) }}
{{- end }}
{{- if regexMatch "(?m)^\\s*\\[+\\s*(instances|callers|deny|shadow)\\b" $v.config.server }}
{{- fail "config.server: [[instances]], [[callers]], [deny] and [shadow] belong in config.policy, whose change restarts no pod" }}
{{- end }}
{{- if regexMatch "(?m)^\\s*\\[+\\s*server\\b" $v.config.policy }}
{{- fail "config.policy: tables of [server] belong in config.server, whose change rolls the pods" }}
{{- end }}
{{- if regexMatch "(?m)^\\s*\\[+\\s*(accounts|audit|tracing)\\b" $v.config.policy }}
{{- fail "config.policy: a change of [accounts], [audit] or [tracing] takes a restart; put them at the end of config.server, whose change rolls the pods" }}
{{- end }}
{{- if regexMatch "(shared_secret|subject_key|hash_key|password)\\s*=\\s*[\"']" $text }}
{{- fail "config: a secret must not stand in the values, which Helm keeps in the cluster; put it into a Secret, name that in `secrets`, and write shared_secret = { file = \"/run/secrets/metabase-token-service/NAME/KEY\" }" }}
{{- end }}
{{- if and $v.mesh.istio.enabled $v.mesh.linkerd.enabled }}
{{- fail "mesh.linkerd.enabled: not together with mesh.istio.enabled; a pod is in one mesh" }}
{{- end }}
{{- if and $v.mesh.istio.enabled $v.tls.existingSecret }}
{{- fail "tls.existingSecret: must be empty with mesh.istio.enabled; the sidecar ends TLS" }}
{{- end }}
{{- if not (or $v.mesh.istio.enabled $v.tls.existingSecret) }}
{{- fail "tls.existingSecret: required, unless mesh.istio.enabled is true; tokens never travel in plaintext between machines" }}
{{- end }}
{{- if and $v.tls.existingSecret (regexMatch "(?m)^\\s*\\[\\s*server\\.tls\\s*\\]" $text) }}
{{- fail "config.server: must not have [server.tls] beside tls.existingSecret, from which the chart writes it" }}
{{- end }}
{{- if and $v.mesh.istio.enabled (not (regexMatch "xfcc" $v.config.server)) }}
{{- fail "config.server: with mesh.istio.enabled it has to say who is believed about callers: [server.identity] and xfcc.trusted = [\"loopback\"]" }}
{{- end }}
{{- $mounts := list }}
{{- range $v.secrets }}{{ $mounts = append $mounts .name }}{{ end }}
{{- if ne (len $mounts) (len (uniq $mounts)) }}
{{- fail "secrets: every name at most once; use `items` to select keys" }}
{{- end }}
{{- $dir := include "mts.secretsDir" . }}
{{- range regexFindAll (printf "%s/[^/\"']+" $dir) $text -1 }}
{{- $name := trimPrefix (printf "%s/" $dir) . }}
{{- if not (has $name $mounts) }}
{{- fail (printf "config: reads %s, but `secrets` does not mount a Secret %q there" . $name) }}
{{- end }}
{{- end }}
{{- range $mounts }}
{{- if not (contains (printf "%s/%s/" $dir .) $text) }}
{{- fail (printf "secrets: %q is mounted, but the configuration reads no file below %s/%s; leave it out, so that the pods hold no secret without need" . $dir .) }}
{{- end }}
{{- end }}
{{- if and (contains "/etc/metabase-token-service/kube-root-ca/" $text) (not $v.kubeRootCA.mount) }}
{{- fail "kubeRootCA.mount: has to be true, because the configuration reads /etc/metabase-token-service/kube-root-ca/ca.crt" }}
{{- end }}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.metabase) }}
{{- fail "networkPolicy.metabase: required; the egress rules that lead to Metabase, for example [{ to: [{ ipBlock: { cidr: 203.0.113.7/32 } }], ports: [{ protocol: TCP, port: 443 }] }]" }}
{{- end }}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.callers) }}
{{- fail "networkPolicy.callers: required; an empty list would let everyone in" }}
{{- end }}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.monitoring) }}
{{- fail "networkPolicy.monitoring: required; an empty list would let everyone read the metrics" }}
{{- end }}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.dns) }}
{{- fail "networkPolicy.dns: required; an empty list would open port 53 of every address" }}
{{- end }}
{{- if ge (int $v.podDisruptionBudget.maxUnavailable) (int $v.replicaCount) }}
{{- fail "podDisruptionBudget.maxUnavailable: has to be less than replicaCount, or it allows an outage" }}
{{- end }}
{{- if ne (len (uniq (list (int $v.ports.grpc) (int $v.ports.probe) (int $v.ports.metrics)))) 3 }}
{{- fail "ports: grpc, probe and metrics have to be three different ports" }}
{{- end }}
{{- end }}
