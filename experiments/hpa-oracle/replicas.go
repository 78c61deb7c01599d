package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const metricName = "m"

var kinds = []string{
	"resource_utilization", "resource_average_value", "pods_average_value",
	"object_value", "object_average_value", "external_value", "external_average_value",
}

// drawReplicas is one call of the calculator, without its answer.
func (d dice) drawReplicas(k int) replicasCase {
	kind := kinds[k%len(kinds)]
	n := one(d, 0, 1, 1, 2, 3, 4, 5, 6, 8)
	c := replicasCase{
		Op: "replicas", Name: fmt.Sprintf("replicas/%s/%d", kind, k/len(kinds)), Kind: kind, Config: d.config(),
		Tolerance: tolerance{Down: one(d, 0.1, 0.1, 0, 0.05, 0.2, 0.5), Up: one(d, 0.1, 0.1, 0, 0.01, 0.05)},
		Pods:      d.fleet(n), CurrentReplicas: int32(max(1, n+one(d, 0, 0, 0, -1, 1, 5))),
	}
	load := d.load()
	switch kind {
	case "resource_utilization":
		c.Resource, c.Target = one(d, "cpu", "cpu", "memory"), one[int64](d, 10, 30, 50, 60, 70, 75, 80, 90, 100, 150)
		c.Container = one(d, "", "", "", "c0", "c1")
		c.PodMetrics = d.samples(c.Pods, func(p pod) podMetric { return d.usage(p, load*float64(c.Target)/100) })
	case "resource_average_value":
		c.Resource, c.Target = "cpu", one[int64](d, 50, 100, 250, 500)
		if d.chance(0.3) {
			c.Resource, c.Target = "memory", one(d, memories...)
		}
		c.Container = one(d, "", "", "", "c0", "c1")
		c.PodMetrics = d.samples(c.Pods, func(p pod) podMetric { return d.usage(p, load) })
	case "pods_average_value":
		c.Target = one[int64](d, 1, 1000, 15_000, 100_000)
		c.PodMetrics = d.samples(c.Pods, func(pod) podMetric {
			return podMetric{Value: pointer(int64(math.Round(load * float64(c.Target) * d.noise())))}
		})
	default:
		c.Target = one[int64](d, 1, 1000, 15_000, 100_000)
		expected := load * float64(c.Target)
		if strings.HasSuffix(kind, "average_value") {
			expected *= float64(c.CurrentReplicas)
		}
		if d.chance(0.05) {
			c.CurrentReplicas = 0
		}
		c.Values = []int64{d.total(expected)}
		if strings.HasPrefix(kind, "external") && d.chance(0.3) {
			c.Values = append(c.Values, d.total(expected/2))
		}
	}
	return c
}

// decide fills in what the real calculator says.
func (c *replicasCase) decide() {
	w := &world{pods: c.Pods, resource: answer{Items: c.PodMetrics}}
	w.custom = map[string]answer{metricName: {Items: c.PodMetrics}}
	w.object = map[string]answer{metricName: {Values: c.Values}}
	w.external = map[string]answer{metricName: {Values: c.Values}}
	calculator, within := w.calculator(c.Config), tolerances(c.Tolerance)
	ctx, pods, any := context.Background(), podSelector(), &metav1.LabelSelector{}
	reference := &autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"}
	resource := corev1.ResourceName(c.Resource)

	var replicas, utilization int32
	var shown int64
	var err error
	switch c.Kind {
	case "resource_utilization":
		replicas, utilization, shown, _, err = calculator.GetResourceReplicas(ctx, c.CurrentReplicas, int32(c.Target), resource, within, namespace, pods, c.Container)
	case "resource_average_value":
		replicas, shown, _, err = calculator.GetRawResourceReplicas(ctx, c.CurrentReplicas, c.Target, resource, within, namespace, pods, c.Container)
	case "pods_average_value":
		replicas, shown, _, err = calculator.GetMetricReplicas(c.CurrentReplicas, c.Target, metricName, within, namespace, pods, labels.Everything())
	case "object_value":
		replicas, shown, _, err = calculator.GetObjectMetricReplicas(c.CurrentReplicas, c.Target, metricName, within, namespace, reference, pods, labels.Everything())
	case "object_average_value":
		replicas, shown, _, err = calculator.GetObjectPerPodMetricReplicas(c.CurrentReplicas, c.Target, metricName, within, namespace, reference, labels.Everything())
	case "external_value":
		replicas, shown, _, err = calculator.GetExternalMetricReplicas(c.CurrentReplicas, c.Target, metricName, within, namespace, any, pods)
	case "external_average_value":
		replicas, shown, _, err = calculator.GetExternalPerPodMetricReplicas(c.CurrentReplicas, c.Target, metricName, within, namespace, any)
	}
	if err != nil {
		c.Expect = replicasSeen{Error: err.Error(), ErrorCode: errorCode(err)}
		return
	}
	c.Expect = replicasSeen{Replicas: &replicas}
	if c.Kind == "resource_utilization" {
		c.Expect.Utilization, c.Expect.RawAverage = &utilization, &shown
	} else {
		c.Expect.Usage = &shown
	}
}

// errorCode is a word for the error, whose text names pods and metrics.
func errorCode(err error) string {
	for _, known := range [][2]string{
		{"no metrics returned from", "no_metrics_returned"},
		{"no metrics returned matched known pods", "metrics_disjoint_from_pods"},
		{"did not receive metrics for targeted pods", "no_usable_pod_metrics"},
		{"no pods returned by selector", "no_pods"},
		{"missing request for", "missing_request"},
		{"not found in Pod", "container_not_found"},
		{"unable to fetch metrics from", "metric_fetch_failed"},
	} {
		if strings.Contains(err.Error(), known[0]) {
			return known[1]
		}
	}
	panic("an error that has no code: " + err.Error())
}
