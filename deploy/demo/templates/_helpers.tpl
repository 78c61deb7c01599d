{{- define "demo.labels" -}}
app: {{ .Release.Name }}
app.kubernetes.io/name: autoscale-demo
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
