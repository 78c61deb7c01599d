package main

import (
	"context"
	"errors"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	scaleclient "k8s.io/client-go/scale"
	podautoscaler "k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	external "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	metricsapi "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	resourceclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	customclient "k8s.io/metrics/pkg/client/custom_metrics"
	externalclient "k8s.io/metrics/pkg/client/external_metrics"
)

const (
	namespace = "default"
	selector  = "app=web"
)

var (
	errMetrics = errors.New("metrics unavailable")
	errScale   = errors.New("scale refused")
)

// world is all that the controller sees of a cluster at one moment.
type world struct {
	pods     []pod
	resource answer
	custom   map[string]answer
	object   map[string]answer
	external map[string]answer

	spec, status int32
	getError     bool
	updateError  bool
}

// metricsClient is the controller's own client on top of the three metrics APIs of the world.
func (w *world) metricsClient() metrics.MetricsClient {
	return metrics.NewRESTMetricsClient(resourceAPI{w: w}, customAPI{w}, externalAPI{w})
}

func (w *world) calculator(c config) *podautoscaler.ReplicaCalculator {
	return podautoscaler.NewReplicaCalculator(w.metricsClient(), podLister{w},
		seconds(c.CPUInitializationPeriodS), seconds(c.InitialReadinessDelayS))
}

func seconds(s int64) time.Duration { return time.Duration(s) * time.Second }

func at(s int64) metav1.Time { return metav1.NewTime(time.Now().Add(seconds(s))) }

func milli(v int64) resource.Quantity { return *resource.NewMilliQuantity(v, resource.DecimalSI) }

func resourceList(values milliList) corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, value := range values {
		list[corev1.ResourceName(name)] = milli(value)
	}
	return list
}

func podSelector() labels.Selector {
	parsed, err := labels.Parse(selector)
	if err != nil {
		panic(err)
	}
	return parsed
}

func containers(described []container) []corev1.Container {
	var list []corev1.Container
	for _, c := range described {
		made := corev1.Container{Name: c.Name, Resources: corev1.ResourceRequirements{Requests: resourceList(c.Requests)}}
		if c.RestartAlways != nil && *c.RestartAlways {
			always := corev1.ContainerRestartPolicyAlways
			made.RestartPolicy = &always
		}
		list = append(list, made)
	}
	return list
}

// object is the pod as the API server would show it now.
func (p pod) object() *corev1.Pod {
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: namespace, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: containers(p.Containers), InitContainers: containers(p.InitContainers)},
		Status:     corev1.PodStatus{Phase: corev1.PodPhase(p.Phase)},
	}
	if p.PodLevelRequests != nil {
		made.Spec.Resources = &corev1.ResourceRequirements{Requests: resourceList(p.PodLevelRequests)}
	}
	if p.Deleted {
		deletion := at(0)
		made.DeletionTimestamp = &deletion
	}
	if p.StartTimeS != nil {
		started := at(*p.StartTimeS)
		made.Status.StartTime = &started
	}
	if p.Ready != nil {
		made.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionStatus(p.Ready.Status), LastTransitionTime: at(p.Ready.LastTransitionS),
		}}
	}
	return made
}

// podLister lists pods in the order of the case, so that an error names the same pod every time.
type podLister struct{ w *world }

func (l podLister) Pods(string) corelisters.PodNamespaceLister { return podNamespaceLister(l) }

func (l podLister) List(labels.Selector) ([]*corev1.Pod, error) {
	var list []*corev1.Pod
	for _, p := range l.w.pods {
		list = append(list, p.object())
	}
	return list, nil
}

type podNamespaceLister podLister

func (l podNamespaceLister) List(s labels.Selector) ([]*corev1.Pod, error) {
	return podLister(l).List(s)
}

func (l podNamespaceLister) Get(string) (*corev1.Pod, error) { return nil, errors.New("not used") }

// The three metrics APIs; what the controller never calls is left to the embedded nil interface.

type resourceAPI struct {
	resourceclient.PodMetricsInterface
	w *world
}

func (a resourceAPI) PodMetricses(string) resourceclient.PodMetricsInterface { return a }

func (a resourceAPI) List(context.Context, metav1.ListOptions) (*metricsapi.PodMetricsList, error) {
	if a.w.resource.Error {
		return nil, errMetrics
	}
	list := &metricsapi.PodMetricsList{}
	for _, item := range a.w.resource.Items {
		made := metricsapi.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: item.Pod, Namespace: namespace},
			Timestamp:  at(item.TimestampS),
			Window:     metav1.Duration{Duration: seconds(item.WindowS)},
		}
		for _, c := range item.Containers {
			made.Containers = append(made.Containers, metricsapi.ContainerMetrics{Name: c.Name, Usage: resourceList(c.Usage)})
		}
		list.Items = append(list.Items, made)
	}
	return list, nil
}

type customAPI struct{ w *world }

func (a customAPI) RootScopedMetrics() customclient.MetricsInterface { return a }

func (a customAPI) NamespacedMetrics(string) customclient.MetricsInterface { return a }

func (a customAPI) GetForObject(_ schema.GroupKind, _, metric string, _ labels.Selector) (*custom.MetricValue, error) {
	answer, known := a.w.object[metric]
	if !known || answer.Error {
		return nil, errMetrics
	}
	return &custom.MetricValue{Timestamp: at(0), Value: milli(answer.Values[0])}, nil
}

func (a customAPI) GetForObjects(_ schema.GroupKind, _ labels.Selector, metric string, _ labels.Selector) (*custom.MetricValueList, error) {
	answer, known := a.w.custom[metric]
	if !known || answer.Error {
		return nil, errMetrics
	}
	list := &custom.MetricValueList{}
	for _, item := range answer.Items {
		window := item.WindowS
		list.Items = append(list.Items, custom.MetricValue{
			DescribedObject: corev1.ObjectReference{Kind: "Pod", Name: item.Pod, Namespace: namespace},
			Timestamp:       at(item.TimestampS), WindowSeconds: &window, Value: milli(*item.Value),
		})
	}
	return list, nil
}

type externalAPI struct{ w *world }

func (a externalAPI) NamespacedMetrics(string) externalclient.MetricsInterface { return a }

func (a externalAPI) List(metric string, _ labels.Selector) (*external.ExternalMetricValueList, error) {
	answer, known := a.w.external[metric]
	if !known || answer.Error {
		return nil, errMetrics
	}
	list := &external.ExternalMetricValueList{}
	for _, value := range answer.Values {
		list.Items = append(list.Items, external.ExternalMetricValue{MetricName: metric, Timestamp: at(0), Value: milli(value)})
	}
	return list, nil
}

// scales is the scale subresource of the only workload.
type scales struct{ w *world }

func (s scales) Scales(string) scaleclient.ScaleInterface { return s }

func (s scales) Get(_ context.Context, _ schema.GroupResource, name string, _ metav1.GetOptions) (*autoscalingv1.Scale, error) {
	if s.w.getError {
		return nil, errScale
	}
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: s.w.spec},
		Status:     autoscalingv1.ScaleStatus{Replicas: s.w.status, Selector: selector},
	}, nil
}

func (s scales) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	if s.w.updateError {
		return nil, errScale
	}
	s.w.spec = scale.Spec.Replicas
	return scale, nil
}

func (s scales) Patch(context.Context, schema.GroupVersionResource, string, types.PatchType, []byte, metav1.PatchOptions) (*autoscalingv1.Scale, error) {
	return nil, errors.New("not used")
}

// object is the behavior as a user would write it.
func (b *behavior) object() *autoscalingv2.HorizontalPodAutoscalerBehavior {
	if b == nil {
		return nil
	}
	return &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: b.ScaleUp.object(), ScaleDown: b.ScaleDown.object()}
}

func (r *rules) object() *autoscalingv2.HPAScalingRules {
	if r == nil {
		return nil
	}
	made := &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: r.StabilizationWindowS}
	if r.SelectPolicy != nil {
		selected := autoscalingv2.ScalingPolicySelect(*r.SelectPolicy)
		made.SelectPolicy = &selected
	}
	for _, p := range r.Policies {
		made.Policies = append(made.Policies, autoscalingv2.HPAScalingPolicy{
			Type: autoscalingv2.HPAScalingPolicyType(p.Type), Value: p.Value, PeriodSeconds: p.PeriodS,
		})
	}
	if r.Tolerance != nil {
		quantity := resource.MustParse(*r.Tolerance)
		made.Tolerance = &quantity
	}
	return made
}
