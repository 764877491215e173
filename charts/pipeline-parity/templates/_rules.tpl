{{/* What the operator does in the namespaces of its runs. Each verb is used: test/integration/chart-roles.test.ts compares them with what is asked of an API server. */}}
{{- define "parity.rules.runs" -}}
- apiGroups: [pipelineparity.io]
  resources: [pipelineparityruns]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [pipelineparity.io]
  resources: [pipelineparityruns/status]
  verbs: [patch]
- apiGroups: [pipelineparity.io]
  resources: [pipelineparityplans]
  verbs: [get]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, create, patch, delete]
# Sources that the operator deploys itself.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, create, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, delete]
# What keeps their pods from starting, and what people are told of a run.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if not .Values.watch.allNamespaces }}
# Its own RoleBinding, which it keeps while a run of the namespace has something to be removed.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  resourceNames: [{{ include "parity.name" . }}-runs]
  verbs: [get, patch]
{{- end }}
{{- end -}}

{{/* In its own namespace: who leads, the default workspace's credentials, and what an administrator has let go of. */}}
{{- define "parity.rules.own" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, patch]
{{- if not .Values.watch.allNamespaces }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, create, patch, delete]
{{- end }}
{{- end -}}

{{/* In Argo CD's namespace. */}}
{{- define "parity.rules.argocd" -}}
- apiGroups: [argoproj.io]
  resources: [applications]
  verbs: [get, list, create, patch, delete]
{{- end -}}
