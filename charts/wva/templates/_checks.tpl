{{/*
Values that contradict each other, or the cluster: said when the chart is rendered, with the remedy, instead of by a pod that does not
start or an HPA that does not move. What the schema can tell is left to values.schema.json.
*/}}
{{- define "wva.checks" -}}
{{- if and (not .Values.externalMetrics.enabled) (not .Values.keda.enabled) (not .Values.directScaling.enabled) }}
{{- fail "nothing would ever be scaled: turn on one of externalMetrics.enabled (HPAs), keda.enabled (ScaledObjects) or directScaling.enabled" }}
{{- end }}
{{- if not (or (kindIs "map" .Values.settings.telemetry.pods) .Values.settings.telemetry.prometheus .Values.exchange.enabled) }}
{{- fail "settings.telemetry: load can be read from nowhere; give pods: {} or prometheus: {url: …}, or let endpoint pickers push it (exchange.enabled)" }}
{{- end }}
{{- if and .Values.exchange.enabled .Values.exchange.tls (eq .Values.certificates.source "controller") }}
{{- fail "exchange.tls needs a certificate that endpoint pickers can verify: set certificates.source to cert-manager or secret" }}
{{- end }}
{{- if and .Values.keda.enabled .Values.keda.tls (eq .Values.certificates.source "controller") }}
{{- fail "keda.tls needs a certificate that KEDA can verify: set certificates.source to cert-manager or secret" }}
{{- end }}
{{- if and (eq .Values.certificates.source "secret") (include "wva.certificateFiles" .) }}
{{- if not .Values.certificates.secret.name }}
{{- fail "certificates.source is secret: name it in certificates.secret.name" }}
{{- end }}
{{- if and .Values.externalMetrics.enabled (not .Values.certificates.secret.caBundle) }}
{{- fail "certificates.source is secret: the API server verifies it by certificates.secret.caBundle (PEM), which is empty" }}
{{- end }}
{{- end }}
{{- if and (has "HorizontalPodAutoscaler" .Values.samples.create) (has "ScaledObject" .Values.samples.create) }}
{{- fail "samples.create: a HorizontalPodAutoscaler and a ScaledObject would fight over one Deployment; choose one" }}
{{- end }}
{{- if and .Values.endpointPicker.envoySample.create (not .Values.endpointPicker.enabled) }}
{{- fail "endpointPicker.envoySample.create: Envoy would have no picker to ask; set endpointPicker.enabled too" }}
{{- end }}
{{- if and .Values.endpointPicker.enabled (not .Values.endpointPicker.pool.create) (not .Values.endpointPicker.pool.name) }}
{{- fail "endpointPicker.pool.name: name the InferencePool to pick from, since endpointPicker.pool.create is off" }}
{{- end }}
{{- if .Values.externalMetrics.enabled }}
{{- $owner := (lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.external.metrics.k8s.io").spec | default dict }}
{{- with $owner.service }}
{{- if or (ne .name (include "wva.fullname" $)) (ne .namespace $.Release.Namespace) }}
{{- fail (printf "external.metrics.k8s.io is served by %s/%s on this cluster already, and there can be only one. If that is KEDA, install with --set externalMetrics.enabled=false --set keda.enabled=true and use ScaledObjects; else remove it first" .namespace .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
