/**
 * OpenTelemetry's SDK, loaded by `serve.ts` only when the environment asks for an export, so that nobody else pays for it.
 * Spans and metrics leave over OTLP (http/protobuf); `OTEL_TRACES_EXPORTER=console` prints spans instead. The exporters read
 * their `OTEL_EXPORTER_OTLP_*` settings (endpoints, headers, timeouts, certificates) themselves.
 *
 * No instrumentation libraries: the service makes its own spans at the moments that mean something, and libraries that patch
 * the HTTP client would overwrite the trace context that an attempt carries.
 */
import type { Tracer } from "@opentelemetry/api";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { defaultResource, detectResources, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ConsoleSpanExporter,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Metrics } from "./base/metrics.ts";
import type { TelemetryConfig } from "./config.ts";
import { createMetricProducer } from "./telemetry/otlp-metrics.ts";

const scopeName = "pyairtable-workflow";

export interface Instrumentation {
  /** Undefined when no spans are wanted. */
  readonly tracer: Tracer | undefined;
  /** Sends what was not sent yet; waits at most five seconds. */
  stop(): Promise<void>;
}

export interface InstrumentationOptions {
  readonly config: TelemetryConfig;
  readonly metrics: Metrics;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

const stopMsMax = 5_000;

export function startInstrumentation({ config, metrics, version, now }: InstrumentationOptions): Instrumentation {
  const resource = defaultResource()
    .merge(resourceFromAttributes({ "service.name": scopeName, "service.version": version }))
    .merge(detectResources({ detectors: [envDetector] }));
  const spans = tracerProvider(config, resource);
  const meters = config.metrics === "otlp" ? meterProvider(metrics, resource, version, now) : undefined;
  return {
    tracer: spans?.getTracer(scopeName, version),
    async stop() {
      const timer = new AbortController();
      const late = new Promise<void>((resolve) => {
        const timeout = setTimeout(resolve, stopMsMax);
        timer.signal.addEventListener("abort", () => clearTimeout(timeout));
      });
      await Promise.race([Promise.allSettled([spans?.shutdown(), meters?.shutdown()]), late]);
      timer.abort("the exporters have stopped");
    },
  };
}

function tracerProvider(config: TelemetryConfig, resource: Resource): TracerProvider | undefined {
  if (config.traces === "none") return undefined;
  const exporter = config.traces === "console" ? new ConsoleSpanExporter() : new OTLPTraceExporter();
  return new TracerProvider({ resource, sampler: samplerOf(config), spanProcessors: [new BatchSpanProcessor({ exporter })] });
}

function samplerOf({ sampler, samplerRatio }: TelemetryConfig): Sampler {
  const own = sampler.endsWith("always_off")
    ? new AlwaysOffSampler()
    : sampler.endsWith("traceidratio")
      ? new TraceIdRatioBasedSampler(samplerRatio)
      : new AlwaysOnSampler();
  return sampler.startsWith("parentbased_") ? new ParentBasedSampler({ root: own }) : own;
}

function meterProvider(metrics: Metrics, resource: Resource, version: string, now: () => number): MeterProvider {
  const producer = createMetricProducer({ metrics, resource, scope: { name: scopeName, version }, now });
  return new MeterProvider({ resource, readers: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(), metricProducers: [producer] })] });
}
