{{/* What all objects are found by. */}}
{{- define "autoscale.selector" -}}
app.kubernetes.io/name: autoscale
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "autoscale.labels" -}}
{{ include "autoscale.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* The file that --prometheus takes, where the address is not all that is said. */}}
{{- define "autoscale.prometheus" -}}
{{ merge (dict "url" .Values.prometheus.url) .Values.prometheus.settings | toYaml }}
{{- end }}
