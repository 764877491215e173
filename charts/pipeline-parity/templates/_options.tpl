{{/* What the operator reads at its start: OperatorOptions of operator/runs/types.ts. */}}
{{- define "parity.options" -}}
installation: {{ include "parity.installation" . }}
namespace: {{ .Release.Namespace }}
image: {{ include "parity.image" . | quote }}
imagePullSecrets: {{ toJson .Values.imagePullSecrets }}
{{- if or (not .Values.watch.allNamespaces) (not .Values.tasks.serviceAccount.create) }}
{{- with .Values.tasks.serviceAccount.name }}
taskServiceAccount: {{ . }}
{{- end }}
{{- end }}
executor: Jobs
allow: {{ toJson .Values.runs.allow }}
{{- with .Values.runs.defaultWorkspace }}
defaultWorkspace: {{ toJson . }}
{{- end }}
{{- if .Values.argocd.enabled }}
argocd: {{ toJson (omit .Values.argocd "enabled") }}
{{- end }}
{{- if not .Values.watch.allNamespaces }}
namespaces: {{ include "parity.namespaces" . }}
{{- if .Values.rbac.create }}
roleBinding: {{ include "parity.name" . }}-runs
{{- end }}
{{- end }}
parallelRuns: {{ .Values.runs.parallel }}
nodeSelector: {{ toJson .Values.tasks.nodeSelector }}
tolerations: {{ toJson .Values.tasks.tolerations }}
{{- end -}}
