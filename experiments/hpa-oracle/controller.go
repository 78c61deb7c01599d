package main

import (
	"context"
	"reflect"
	"time"
	"unsafe"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	autoscalinginformers "k8s.io/client-go/informers/autoscaling/v2"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	autoscalinglisters "k8s.io/client-go/listers/autoscaling/v2"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"
	defaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	podautoscaler "k8s.io/kubernetes/pkg/controller/podautoscaler"
)

const (
	hpaName = "web"
	hpaKey  = namespace + "/" + hpaName
)

// Functions of the controller that its package keeps to itself. The version is pinned, so their signatures are known.

//go:linkname reconcileKey k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).reconcileKey
func reconcileKey(*podautoscaler.HorizontalController, context.Context, string) (bool, error)

//go:linkname recordInitialRecommendation k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).recordInitialRecommendation
func recordInitialRecommendation(*podautoscaler.HorizontalController, int32, string)

//go:linkname normalizeDesiredReplicas k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).normalizeDesiredReplicas
func normalizeDesiredReplicas(*podautoscaler.HorizontalController, *autoscalingv2.HorizontalPodAutoscaler, string, int32, int32, int32) int32

//go:linkname normalizeDesiredReplicasWithBehaviors k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).normalizeDesiredReplicasWithBehaviors
func normalizeDesiredReplicasWithBehaviors(*podautoscaler.HorizontalController, *autoscalingv2.HorizontalPodAutoscaler, string, int32, int32, int32) int32

//go:linkname storeScaleEvent k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).storeScaleEvent
func storeScaleEvent(*podautoscaler.HorizontalController, *autoscalingv2.HorizontalPodAutoscalerBehavior, string, int32, int32)

// tolerances makes the controller's own pair, whose fields are private.
func tolerances(t tolerance) (made podautoscaler.Tolerances) {
	set(&made, "scaleDown", t.Down)
	set(&made, "scaleUp", t.Up)
	return made
}

// set overwrites a private field.
func set(object any, field string, value any) {
	target := reflect.ValueOf(object).Elem().FieldByName(field)
	reflect.NewAt(target.Type(), unsafe.Pointer(target.UnsafeAddr())).Elem().Set(reflect.ValueOf(value))
}

// controller is the real one, in a world of ours.
type controller struct {
	*podautoscaler.HorizontalController
	client *fake.Clientset
	events *record.FakeRecorder
}

func newController(w *world, c config, hpa *autoscalingv2.HorizontalPodAutoscaler) *controller {
	ctx, cancel := context.WithCancel(context.Background())
	client := fake.NewSimpleClientset(hpa)
	factory := informers.NewSharedInformerFactory(client, 0)
	mapper := apimeta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "apps", Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, apimeta.RESTScopeNamespace)
	made := &controller{client: client, events: record.NewFakeRecorder(1000)}
	made.HorizontalController = podautoscaler.NewHorizontalController(ctx, client.CoreV1(), scales{w}, client.AutoscalingV2(), mapper,
		w.metricsClient(), hpaInformer{factory.Autoscaling().V2().HorizontalPodAutoscalers(), client},
		podInformer{factory.Core().V1().Pods(), w}, 15*time.Second, seconds(c.DownscaleStabilizationS), c.Tolerance,
		seconds(c.CPUInitializationPeriodS), seconds(c.InitialReadinessDelayS))
	set(made.HorizontalController, "eventRecorder", record.EventRecorder(made.events))
	// A run that has been cancelled before it begins ends the queue's own goroutines; reconciles are called by hand.
	cancel()
	made.Run(ctx, 0)
	return made
}

// hpa reads the object back.
func (c *controller) hpa() *autoscalingv2.HorizontalPodAutoscaler {
	hpa, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(context.Background(), hpaName, metav1.GetOptions{})
	if err != nil {
		panic(err)
	}
	return hpa
}

// said empties the list of events.
func (c *controller) said() (events []string) {
	for {
		select {
		case event := <-c.events.Events:
			events = append(events, event)
		default:
			return events
		}
	}
}

// newHPA is a checked and defaulted object, as the API server would store it.
func newHPA(minReplicas *int32, maxReplicas int32, b *behavior, specs []autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: hpaName, Namespace: namespace},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    minReplicas, MaxReplicas: maxReplicas, Metrics: specs, Behavior: b.object(),
		},
	}
	defaults.SetDefaults_HorizontalPodAutoscaler(hpa)
	if hpa.Spec.Behavior != nil {
		defaults.SetDefaults_HorizontalPodAutoscalerBehavior(hpa)
	}
	return hpa
}

func conditions(hpa *autoscalingv2.HorizontalPodAutoscaler) []condition {
	list := []condition{}
	for _, c := range hpa.Status.Conditions {
		list = append(list, condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason})
	}
	return list
}

// Informers whose listers read the world at once; they are never started.

type podInformer struct {
	coreinformers.PodInformer
	w *world
}

func (i podInformer) Lister() corelisters.PodLister { return podLister{i.w} }

type hpaInformer struct {
	autoscalinginformers.HorizontalPodAutoscalerInformer
	client *fake.Clientset
}

func (i hpaInformer) Lister() autoscalinglisters.HorizontalPodAutoscalerLister {
	return hpaLister{i.client}
}

type hpaLister struct{ client *fake.Clientset }

func (l hpaLister) List(labels.Selector) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	return nil, nil
}

func (l hpaLister) HorizontalPodAutoscalers(string) autoscalinglisters.HorizontalPodAutoscalerNamespaceLister {
	return hpaNamespaceLister(l)
}

type hpaNamespaceLister hpaLister

func (l hpaNamespaceLister) List(labels.Selector) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	return nil, nil
}

func (l hpaNamespaceLister) Get(name string) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	return l.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(context.Background(), name, metav1.GetOptions{})
}
