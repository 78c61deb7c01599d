package main

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// dice are the only source of randomness.
type dice struct{ *rand.Rand }

func newDice(seed, stream uint64) dice { return dice{rand.New(rand.NewPCG(seed, stream))} }

func (d dice) chance(p float64) bool { return d.Float64() < p }

func one[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func pointer[T any](value T) *T { return &value }

func (d dice) config() config {
	c := config{
		CPUInitializationPeriodS: 300, InitialReadinessDelayS: 30, Tolerance: 0.1,
		DownscaleStabilizationS: 300, ScaleUpLimitFactor: 2, ScaleUpLimitMinimum: 4,
	}
	if d.chance(0.3) {
		c.CPUInitializationPeriodS, c.InitialReadinessDelayS = one[int64](d, 0, 60, 120, 300), one[int64](d, 0, 5, 10, 30)
	}
	return c
}

var memories = []int64{128 << 20 * 1000, 256 << 20 * 1000, 512 << 20 * 1000}

func (d dice) requests() milliList {
	list := milliList{"cpu": one[int64](d, 100, 250, 333, 500, 1000), "memory": one(d, memories...)}
	if d.chance(0.01) {
		delete(list, one(d, "cpu", "memory"))
	}
	return list
}

// fleet is a list of pods of every kind that the calculator tells apart.
func (d dice) fleet(n int) []pod {
	pods := []pod{}
	template := 1
	if d.chance(0.2) {
		template = 2
	}
	sidecar, whole := d.chance(0.08), d.chance(0.08)
	// A calm fleet has nothing but pods that have long been ready: the plain path has to be met often enough.
	calm := d.chance(0.35)
	for i := range n {
		p := pod{Name: fmt.Sprintf("p%d", i), Phase: "Running", StartTimeS: pointer(-one[int64](d, 400, 900, 3600))}
		p.Ready = &readyCondition{Status: "True", LastTransitionS: *p.StartTimeS + 20}
		for k := range template {
			p.Containers = append(p.Containers, container{Name: fmt.Sprintf("c%d", k), Requests: d.requests()})
		}
		if sidecar {
			p.InitContainers = []container{{Name: "i0", Requests: d.requests(), RestartAlways: pointer(d.chance(0.7))}}
		}
		if whole {
			p.PodLevelRequests = d.requests()
		}
		if !calm {
			d.disturb(&p)
		}
		pods = append(pods, p)
	}
	return pods
}

// disturb makes a pod young, unready, on its way out or strange.
func (d dice) disturb(p *pod) {
	p.Deleted = d.chance(0.06)
	p.Phase = one(d, "Running", "Running", "Running", "Running", "Running", "Running", "Running", "Pending", "Failed", "Succeeded", "Unknown")
	if d.chance(0.04) {
		p.StartTimeS, p.Ready = nil, nil
		return
	}
	age := one[int64](d, 1, 5, 10, 29, 30, 31, 45, 60, 119, 120, 121, 299, 300, 301, 600, 900, 3600)
	p.StartTimeS = pointer(-age)
	status := one(d, "True", "True", "True", "True", "False", "Unknown")
	after := one(d, 0, 1, 5, 10, 29, 30, 31, 60, age/2, age)
	p.Ready = &readyCondition{Status: status, LastTransitionS: min(0, after-age)}
	if d.chance(0.03) {
		p.Ready = nil
	}
}

// load is how busy pods are, as a share of the target.
func (d dice) load() float64 {
	return one(d, 0, 0.3, 0.5, 0.8, 0.89, 0.9, 0.91, 0.95, 1, 1, 1.05, 1.09, 1.1, 1.11, 1.2, 1.5, 2, 4) * one(d, 1, 1, 1+d.Float64()/10)
}

func (d dice) noise() float64 { return one(d, 1, 1, 0.7+0.6*d.Float64()) }

// samples is what an API reports of the pods: some are missing, one may belong to nobody.
func (d dice) samples(pods []pod, of func(p pod) podMetric) []podMetric {
	list := []podMetric{}
	missing := one(d, 0, 0, 0.15)
	for _, p := range pods {
		if p.Phase == "Pending" && d.chance(0.8) || d.chance(missing) {
			continue
		}
		sample := of(p)
		sample.Pod, sample.TimestampS, sample.WindowS = p.Name, -one[int64](d, 0, 5, 15, 20, 30, 45, 75), one[int64](d, 10, 15, 30, 60)
		list = append(list, sample)
	}
	if len(pods) > 0 && d.chance(0.04) {
		ghost := of(pods[0])
		ghost.Pod, ghost.TimestampS, ghost.WindowS = "ghost", -15, 15
		list = append(list, ghost)
	}
	return list
}

// usage is a sample of the resource metrics API at this share of the requests.
func (d dice) usage(p pod, share float64) podMetric {
	sample := podMetric{}
	noise := d.noise()
	for _, c := range p.Containers {
		if d.chance(0.01) {
			continue
		}
		usage := containerUsage{Name: c.Name, Usage: milliList{}}
		for _, resource := range []string{"cpu", "memory"} {
			request, stated := c.Requests[resource]
			if !stated {
				request = 250
			}
			if !d.chance(0.01) {
				usage.Usage[resource] = int64(math.Round(float64(request) * share * noise))
			}
		}
		sample.Containers = append(sample.Containers, usage)
	}
	return sample
}

// total is the value of an object or external metric; now and then an absurd one.
func (d dice) total(expected float64) int64 {
	if d.chance(0.02) {
		return one[int64](d, 0, 1, math.MaxInt64, math.MaxInt64/2, 1<<53+1)
	}
	return int64(math.Round(expected * d.noise()))
}

func (d dice) rules() *rules {
	r := &rules{}
	if d.chance(0.6) {
		r.StabilizationWindowS = pointer(one[int32](d, 0, 0, 15, 30, 60, 300, 600))
	}
	if d.chance(0.5) {
		r.SelectPolicy = pointer(one(d, "Max", "Max", "Min", "Min", "Disabled"))
	}
	if d.chance(0.7) {
		for range 1 + d.IntN(3) {
			p := policy{Type: "Pods", Value: one[int32](d, 1, 2, 4, 10), PeriodS: one[int32](d, 15, 30, 60, 120, 300, 1800)}
			if d.chance(0.5) {
				p.Type, p.Value = "Percent", one[int32](d, 1, 7, 10, 33, 50, 100, 200, 900)
			}
			r.Policies = append(r.Policies, p)
		}
	}
	return r
}

// behavior is absent, or has either direction or both.
func (d dice) behavior() *behavior {
	if d.chance(0.3) {
		return nil
	}
	b := &behavior{}
	if d.chance(0.75) {
		b.ScaleUp = d.rules()
	}
	if d.chance(0.75) {
		b.ScaleDown = d.rules()
	}
	return b
}
