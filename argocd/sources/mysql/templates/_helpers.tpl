{{- define "source.name" -}}
{{ .Values.name | default .Release.Name }}
{{- end -}}

{{- define "source.labels" -}}
app.kubernetes.io/name: {{ include "source.name" . }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "source.pods" -}}
app.kubernetes.io/name: {{ include "source.name" . }}
{{- end -}}
