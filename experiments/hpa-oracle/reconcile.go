package main

import (
	"context"
	"fmt"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

func (d dice) metric(k int) metricSpec {
	m := metricSpec{Name: fmt.Sprintf("m%d", k), TargetType: "AverageValue", Target: one[int64](d, 1000, 10_000, 20_000)}
	switch m.Type = one(d, "Resource", "Resource", "ContainerResource", "Pods", "Object", "External"); m.Type {
	case "Resource", "ContainerResource":
		m.Name = one(d, "cpu", "cpu", "memory")
		if m.Type == "ContainerResource" {
			m.Container = "c0"
		}
		switch {
		case d.chance(0.7):
			m.TargetType, m.Target = "Utilization", one[int64](d, 30, 50, 70, 80, 100)
		case m.Name == "cpu":
			m.Target = one[int64](d, 100, 250)
		default:
			m.Target = one(d, memories...)
		}
	case "Object", "External":
		m.TargetType = one(d, "AverageValue", "Value")
	}
	return m
}

func (m metricSpec) zeroable() bool { return m.Type == "Object" || m.Type == "External" }

// drawReconcile is the life of an HPA, without its decisions; what each step shows depends on the replicas, so steps
// are drawn one by one while it runs.
func (d dice) drawReconcile(k int) reconcileCase {
	c := reconcileCase{
		Op: "reconcile", Name: fmt.Sprintf("reconcile/%d", k), Config: d.config(), Behavior: d.behavior(),
		FeatureGates: map[string]bool{"HPAConfigurableTolerance": d.chance(0.7), "HPAScaleToZero": d.chance(0.5)},
		MaxReplicas:  one[int32](d, 4, 8, 8, 20, 50), InitialReplicas: one[int32](d, 1, 2, 3, 4, 6, 8),
	}
	zero := false
	for i := range one(d, 1, 1, 2, 3) {
		c.Metrics = append(c.Metrics, d.metric(i))
		zero = zero || c.Metrics[i].zeroable()
	}
	if d.chance(0.8) {
		c.MinReplicas = pointer(one[int32](d, 1, 1, 2, 3))
	}
	if zero && c.FeatureGates["HPAScaleToZero"] && d.chance(0.6) {
		c.MinReplicas = pointer[int32](0)
	}
	if b := c.Behavior; b != nil {
		for _, r := range []*rules{b.ScaleUp, b.ScaleDown} {
			if r != nil && d.chance(0.4) {
				r.Tolerance = pointer(one(d, "0", "0.05", "0.2", "0.5", "50m"))
			}
		}
	}
	return c
}

// drawStep is what the cluster looks like at the next reconcile of a workload with so many replicas.
func (d dice) drawStep(c *reconcileCase, replicas int32, load *float64) reconcileStep {
	if d.chance(0.5) {
		*load = d.load()
	}
	step := reconcileStep{AdvanceS: one[int64](d, 15, 15, 15, 15, 1, 30, 60, 120, 400)}
	if d.chance(0.05) {
		replicas = int32(d.IntN(int(c.MaxReplicas) + 4))
		step.SpecReplicas = &replicas
	}
	exist := replicas
	if d.chance(0.15) {
		exist = max(0, replicas+one[int32](d, -1, -2, 1))
		step.StatusReplicas = &exist
	}
	step.Pods = d.fleet(int(min(exist, 8)))
	step.GetScaleError, step.UpdateScaleError = d.chance(0.02), d.chance(0.05)
	step.PodsMetrics, step.ObjectMetrics, step.ExternalMetrics = map[string]answer{}, map[string]answer{}, map[string]answer{}
	for _, m := range c.Metrics {
		fails := answer{Error: true}
		failed := d.chance(0.06)
		switch m.Type {
		case "Resource", "ContainerResource":
			share := *load
			if m.TargetType == "Utilization" {
				share *= float64(m.Target) / 100
			}
			step.ResourceMetrics = d.samples(step.Pods, func(p pod) podMetric { return d.usage(p, share) })
			step.ResourceMetricsError = failed
		case "Pods":
			step.PodsMetrics[m.Name] = answer{Items: d.samples(step.Pods, func(pod) podMetric {
				return podMetric{Value: pointer(int64(math.Round(*load * float64(m.Target) * d.noise())))}
			})}
			if failed {
				step.PodsMetrics[m.Name] = fails
			}
		default:
			expected := *load * float64(m.Target)
			if m.TargetType == "AverageValue" {
				expected *= float64(max(exist, 1))
			}
			into := step.ObjectMetrics
			answered := answer{Values: []int64{d.total(expected)}}
			if m.Type == "External" {
				into = step.ExternalMetrics
				if d.chance(0.2) {
					answered.Values = append(answered.Values, d.total(expected/3))
				}
			}
			if failed {
				answered = fails
			}
			into[m.Name] = answered
		}
	}
	return step
}

// object is the metric as a user would write it.
func (m metricSpec) object() autoscalingv2.MetricSpec {
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.MetricTargetType(m.TargetType)}
	value := milli(m.Target)
	switch m.TargetType {
	case "Utilization":
		target.AverageUtilization = pointer(int32(m.Target))
	case "AverageValue":
		target.AverageValue = &value
	case "Value":
		target.Value = &value
	}
	identifier := autoscalingv2.MetricIdentifier{Name: m.Name}
	spec := autoscalingv2.MetricSpec{Type: autoscalingv2.MetricSourceType(m.Type)}
	switch m.Type {
	case "Resource":
		spec.Resource = &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceName(m.Name), Target: target}
	case "ContainerResource":
		spec.ContainerResource = &autoscalingv2.ContainerResourceMetricSource{Name: corev1.ResourceName(m.Name), Container: m.Container, Target: target}
	case "Pods":
		spec.Pods = &autoscalingv2.PodsMetricSource{Metric: identifier, Target: target}
	case "Object":
		service := autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"}
		spec.Object = &autoscalingv2.ObjectMetricSource{DescribedObject: service, Metric: identifier, Target: target}
	case "External":
		spec.External = &autoscalingv2.ExternalMetricSource{Metric: identifier, Target: target}
	}
	return spec
}

// decide draws the steps and fills in what the real controller does at each.
func (c *reconcileCase) decide(d dice) {
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(c.FeatureGates); err != nil {
		panic(err)
	}
	var specs []autoscalingv2.MetricSpec
	for _, m := range c.Metrics {
		specs = append(specs, m.object())
	}
	hpa := newHPA(c.MinReplicas, c.MaxReplicas, c.Behavior, specs)
	hpa.Status.CurrentReplicas, hpa.Status.DesiredReplicas = c.InitialReplicas, c.InitialReplicas
	w := &world{spec: c.InitialReplicas}
	real := newController(w, c.Config, hpa)
	load := d.load()
	for range 4 + d.IntN(5) {
		step := d.drawStep(c, w.spec, &load)
		c.Steps = append(c.Steps, step)
		time.Sleep(seconds(step.AdvanceS))
		w.show(step)
		_, err := reconcileKey(real.HorizontalController, context.Background(), hpaKey)
		c.Expect = append(c.Expect, real.seen(w, err))
	}
}

// show makes the world what the step says.
func (w *world) show(step reconcileStep) {
	if step.SpecReplicas != nil {
		w.spec = *step.SpecReplicas
	}
	w.status = w.spec
	if step.StatusReplicas != nil {
		w.status = *step.StatusReplicas
	}
	w.pods, w.resource = step.Pods, answer{Items: step.ResourceMetrics, Error: step.ResourceMetricsError}
	w.custom, w.object, w.external = step.PodsMetrics, step.ObjectMetrics, step.ExternalMetrics
	w.getError, w.updateError = step.GetScaleError, step.UpdateScaleError
}

func (c *controller) seen(w *world, err error) reconciledSeen {
	status := c.hpa().Status
	seen := reconciledSeen{
		SpecReplicasAfter: w.spec, StatusCurrentReplicas: status.CurrentReplicas, StatusDesiredReplicas: status.DesiredReplicas,
		Conditions: conditions(c.hpa()), Events: c.said(),
	}
	if err != nil {
		seen.Error = err.Error()
	}
	if status.LastScaleTime != nil {
		seen.LastScaleAgeS = pointer(time.Since(status.LastScaleTime.Time).Seconds())
	}
	for _, m := range status.CurrentMetrics {
		seen.CurrentMetrics = append(seen.CurrentMetrics, metricStatus(m))
	}
	return seen
}

func metricStatus(m autoscalingv2.MetricStatus) metricSeen {
	seen := metricSeen{Type: string(m.Type)}
	var value autoscalingv2.MetricValueStatus
	switch {
	case m.Resource != nil:
		seen.Name, value = string(m.Resource.Name), m.Resource.Current
	case m.ContainerResource != nil:
		seen.Name, value = string(m.ContainerResource.Name), m.ContainerResource.Current
	case m.Pods != nil:
		seen.Name, value = m.Pods.Metric.Name, m.Pods.Current
	case m.Object != nil:
		seen.Name, value = m.Object.Metric.Name, m.Object.Current
	case m.External != nil:
		seen.Name, value = m.External.Metric.Name, m.External.Current
	}
	seen.AverageUtilization = value.AverageUtilization
	if value.AverageValue != nil {
		seen.AverageValue = pointer(value.AverageValue.MilliValue())
	}
	if value.Value != nil {
		seen.Value = pointer(value.Value.MilliValue())
	}
	return seen
}
