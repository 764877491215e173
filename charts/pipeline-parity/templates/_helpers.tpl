{{- define "parity.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "parity.labels" -}}
{{ include "parity.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "parity.selector" -}}
app.kubernetes.io/name: pipeline-parity
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "parity.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "parity.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else -}}
{{- if not .Values.serviceAccount.create }}{{ fail "serviceAccount.name is needed where serviceAccount.create is false" }}{{ end -}}
{{ include "parity.name" . }}
{{- end -}}
{{- end -}}

{{- define "parity.installation" -}}
{{- .Values.installation | default (printf "%s-%s" .Release.Namespace (include "parity.name" .)) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The watched namespaces as a JSON list: none means all of them. */}}
{{- define "parity.namespaces" -}}
{{- if .Values.watch.allNamespaces -}}
{{- if .Values.watch.namespaces }}{{ fail "watch.namespaces and watch.allNamespaces exclude each other" }}{{ end -}}
[]
{{- else -}}
{{- .Values.watch.namespaces | default (list .Release.Namespace) | uniq | toJson -}}
{{- end -}}
{{- end -}}

{{- define "parity.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "parity.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}
