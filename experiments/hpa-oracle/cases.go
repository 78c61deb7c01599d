package main

// What a case file holds. Times are seconds relative to the moment of the decision, quantities thousandths of a unit.

type milliList map[string]int64

type container struct {
	Name          string    `json:"name"`
	Requests      milliList `json:"requests_milli"`
	RestartAlways *bool     `json:"restart_policy_always,omitempty"`
}

type readyCondition struct {
	Status          string `json:"status"`
	LastTransitionS int64  `json:"last_transition_s"`
}

type pod struct {
	Name             string          `json:"name"`
	Phase            string          `json:"phase"`
	Deleted          bool            `json:"deleted"`
	StartTimeS       *int64          `json:"start_time_s"`
	Ready            *readyCondition `json:"ready"`
	Containers       []container     `json:"containers"`
	InitContainers   []container     `json:"init_containers,omitempty"`
	PodLevelRequests milliList       `json:"pod_level_requests_milli,omitempty"`
}

type containerUsage struct {
	Name  string    `json:"name"`
	Usage milliList `json:"usage_milli"`
}

// podMetric is a sample of the resource metrics API (with containers) or of a custom metric (with a value).
type podMetric struct {
	Pod        string           `json:"pod"`
	TimestampS int64            `json:"timestamp_s"`
	WindowS    int64            `json:"window_s"`
	Containers []containerUsage `json:"containers,omitempty"`
	Value      *int64           `json:"value_milli,omitempty"`
}

type tolerance struct {
	Down float64 `json:"down"`
	Up   float64 `json:"up"`
}

type policy struct {
	Type    string `json:"type"`
	Value   int32  `json:"value"`
	PeriodS int32  `json:"period_s"`
}

type rules struct {
	StabilizationWindowS *int32   `json:"stabilization_window_s"`
	SelectPolicy         *string  `json:"select_policy"`
	Policies             []policy `json:"policies"`
	Tolerance            *string  `json:"tolerance,omitempty"`
}

type behavior struct {
	ScaleUp   *rules `json:"scale_up"`
	ScaleDown *rules `json:"scale_down"`
}

type config struct {
	CPUInitializationPeriodS int64   `json:"cpu_initialization_period_s"`
	InitialReadinessDelayS   int64   `json:"initial_readiness_delay_s"`
	Tolerance                float64 `json:"tolerance"`
	DownscaleStabilizationS  int64   `json:"downscale_stabilization_s"`
	ScaleUpLimitFactor       float64 `json:"scale_up_limit_factor"`
	ScaleUpLimitMinimum      float64 `json:"scale_up_limit_minimum"`
}

type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

type replicasCase struct {
	Op              string       `json:"op"`
	Name            string       `json:"name"`
	Kind            string       `json:"kind"`
	Config          config       `json:"config"`
	Tolerance       tolerance    `json:"tolerance"`
	CurrentReplicas int32        `json:"current_replicas"`
	Resource        string       `json:"resource,omitempty"`
	Container       string       `json:"container,omitempty"`
	Target          int64        `json:"target"`
	Pods            []pod        `json:"pods"`
	PodMetrics      []podMetric  `json:"pod_metrics,omitempty"`
	Values          []int64      `json:"values_milli,omitempty"`
	Expect          replicasSeen `json:"expect"`
}

type replicasSeen struct {
	Replicas    *int32 `json:"replicas,omitempty"`
	Utilization *int32 `json:"utilization,omitempty"`
	RawAverage  *int64 `json:"raw_average_milli,omitempty"`
	Usage       *int64 `json:"usage_milli,omitempty"`
	Error       string `json:"error,omitempty"`
	ErrorCode   string `json:"error_code,omitempty"`
}

type normalizeCase struct {
	Op              string           `json:"op"`
	Name            string           `json:"name"`
	Config          config           `json:"config"`
	MinReplicas     int32            `json:"min_replicas"`
	MaxReplicas     int32            `json:"max_replicas"`
	InitialReplicas int32            `json:"initial_replicas"`
	Behavior        *behavior        `json:"behavior"`
	Steps           []normalizeStep  `json:"steps"`
	Expect          []normalizedSeen `json:"expect"`
}

type normalizeStep struct {
	AdvanceS        int64  `json:"advance_s"`
	MetricDesired   int32  `json:"metric_desired"`
	OverrideCurrent *int32 `json:"override_current,omitempty"`
}

type normalizedSeen struct {
	Current    int32       `json:"current"`
	Desired    int32       `json:"desired"`
	Conditions []condition `json:"conditions,omitempty"`
}

type metricSpec struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Container  string `json:"container,omitempty"`
	TargetType string `json:"target_type"`
	Target     int64  `json:"target"`
}

// answer is what a metrics API says of one custom, object or external metric.
type answer struct {
	Items  []podMetric `json:"items,omitempty"`
	Values []int64     `json:"values_milli,omitempty"`
	Error  bool        `json:"error,omitempty"`
}

type reconcileCase struct {
	Op              string           `json:"op"`
	Name            string           `json:"name"`
	Config          config           `json:"config"`
	FeatureGates    map[string]bool  `json:"feature_gates"`
	MinReplicas     *int32           `json:"min_replicas"`
	MaxReplicas     int32            `json:"max_replicas"`
	Behavior        *behavior        `json:"behavior"`
	Metrics         []metricSpec     `json:"metrics"`
	InitialReplicas int32            `json:"initial_replicas"`
	Steps           []reconcileStep  `json:"steps"`
	Expect          []reconciledSeen `json:"expect"`
}

type reconcileStep struct {
	AdvanceS             int64             `json:"advance_s"`
	SpecReplicas         *int32            `json:"spec_replicas,omitempty"`
	StatusReplicas       *int32            `json:"status_replicas,omitempty"`
	Pods                 []pod             `json:"pods"`
	ResourceMetrics      []podMetric       `json:"resource_metrics,omitempty"`
	ResourceMetricsError bool              `json:"resource_metrics_error,omitempty"`
	PodsMetrics          map[string]answer `json:"pods_metrics,omitempty"`
	ObjectMetrics        map[string]answer `json:"object_metrics,omitempty"`
	ExternalMetrics      map[string]answer `json:"external_metrics,omitempty"`
	GetScaleError        bool              `json:"get_scale_error,omitempty"`
	UpdateScaleError     bool              `json:"update_scale_error,omitempty"`
}

type metricSeen struct {
	Type               string `json:"type"`
	Name               string `json:"name"`
	AverageUtilization *int32 `json:"average_utilization,omitempty"`
	AverageValue       *int64 `json:"average_value_milli,omitempty"`
	Value              *int64 `json:"value_milli,omitempty"`
}

type reconciledSeen struct {
	Error                 string       `json:"error,omitempty"`
	SpecReplicasAfter     int32        `json:"spec_replicas_after"`
	StatusCurrentReplicas int32        `json:"status_current_replicas"`
	StatusDesiredReplicas int32        `json:"status_desired_replicas"`
	Conditions            []condition  `json:"conditions"`
	CurrentMetrics        []metricSeen `json:"current_metrics,omitempty"`
	Events                []string     `json:"events,omitempty"`
	LastScaleAgeS         *float64     `json:"last_scale_age_s,omitempty"`
}
