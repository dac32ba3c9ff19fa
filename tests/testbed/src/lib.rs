//! Real components on loopback, started and stopped by the tests: etcd, kube-apiserver, the HPA, Prometheus.
