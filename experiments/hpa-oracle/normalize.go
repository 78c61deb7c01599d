package main

import (
	"fmt"
	"time"
)

// drawNormalize is a sequence of proposals, without what becomes of them.
func (d dice) drawNormalize(k int) normalizeCase {
	c := normalizeCase{
		Op: "normalize", Name: fmt.Sprintf("normalize/%d", k), Config: d.config(),
		MinReplicas: one[int32](d, 1, 1, 1, 2, 5), MaxReplicas: one[int32](d, 5, 10, 30, 100),
		InitialReplicas: one[int32](d, 1, 1, 2, 4, 10, 40), Behavior: d.behavior(),
	}
	c.Config.DownscaleStabilizationS = one[int64](d, 300, 300, 300, 0, 60)
	wish := c.InitialReplicas
	for range 6 + d.IntN(7) {
		switch d.IntN(4) {
		case 0:
			wish = int32(d.IntN(int(c.MaxReplicas) + 20))
		case 1:
			wish = max(0, wish+int32(d.IntN(9)-4))
		}
		step := normalizeStep{AdvanceS: one[int64](d, 1, 5, 15, 15, 15, 15, 30, 60, 120, 300, 600), MetricDesired: wish}
		if d.chance(0.07) {
			step.OverrideCurrent = pointer(int32(d.IntN(int(c.MaxReplicas) + 5)))
		}
		c.Steps = append(c.Steps, step)
	}
	return c
}

// decide fills in what the real controller makes of the proposals.
func (c *normalizeCase) decide() {
	hpa := newHPA(&c.MinReplicas, c.MaxReplicas, c.Behavior, nil)
	real := newController(&world{}, c.Config, hpa)
	current := c.InitialReplicas
	for _, step := range c.Steps {
		time.Sleep(seconds(step.AdvanceS))
		if step.OverrideCurrent != nil {
			current = *step.OverrideCurrent
		}
		recordInitialRecommendation(real.HorizontalController, current, hpaKey)
		hpa.Status.Conditions = nil
		desired := current
		switch {
		case current > c.MaxReplicas:
			desired = c.MaxReplicas
		case current < c.MinReplicas:
			desired = c.MinReplicas
		case c.Behavior == nil:
			desired = normalizeDesiredReplicas(real.HorizontalController, hpa, hpaKey, current, step.MetricDesired, c.MinReplicas)
		default:
			desired = normalizeDesiredReplicasWithBehaviors(real.HorizontalController, hpa, hpaKey, current, step.MetricDesired, c.MinReplicas)
		}
		c.Expect = append(c.Expect, normalizedSeen{Current: current, Desired: desired, Conditions: conditions(hpa)})
		if desired != current {
			storeScaleEvent(real.HorizontalController, hpa.Spec.Behavior, hpaKey, current, desired)
		}
		current = desired
	}
}
