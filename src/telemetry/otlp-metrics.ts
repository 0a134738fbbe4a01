/** Our metrics in the form that OpenTelemetry's exporters take, so that OTLP and Prometheus tell of the same counters. */
import { type HrTime, ValueType } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import type { MetricFamily, Metrics, Series } from "../base/metrics.ts";

export interface MetricProducerOptions {
  readonly metrics: Metrics;
  readonly resource: Resource;
  readonly scope: { readonly name: string; readonly version: string };
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export function createMetricProducer({ metrics, resource, scope, now }: MetricProducerOptions): MetricProducer {
  const startTime = timeOf(now());
  return {
    async collect(): Promise<CollectionResult> {
      const families = await metrics.collect();
      const times = { startTime, endTime: timeOf(now()) };
      return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics: families.map((family) => dataOf(family, times)) }] }, errors: [] };
    },
  };
}

interface Times {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

function dataOf(family: MetricFamily, times: Times): MetricData {
  const { name, help, kind } = family;
  const unit = /_seconds(?:_total)?$/.test(name) ? "s" : /_bytes$/.test(name) ? "By" : "1";
  const shared = { descriptor: { name, description: help, unit, valueType: ValueType.DOUBLE }, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  if (kind === "histogram") {
    return {
      ...shared,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: family.series.map((series) => pointOf(family, series, times, histogramOf(family, series))),
    };
  }
  const dataPoints = family.series.map((series) => pointOf(family, series, times, series.value as number));
  if (kind === "counter") return { ...shared, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
  return { ...shared, dataPointType: DataPointType.GAUGE, dataPoints };
}

function pointOf<Value>(family: MetricFamily, series: Series, times: Times, value: Value): DataPoint<Value> {
  return { ...times, attributes: Object.fromEntries(family.labels.map((label, index) => [label, series.labels[index] ?? ""])), value };
}

function histogramOf({ bounds }: MetricFamily, { value }: Series): Histogram {
  if (typeof value === "number") throw new Error("a histogram reads as counts");
  return { buckets: { boundaries: [...bounds], counts: [...value.counts] }, sum: value.sum, count: value.count };
}

function timeOf(atMs: number): HrTime {
  return [Math.floor(atMs / 1000), Math.round((atMs % 1000) * 1e6)];
}
