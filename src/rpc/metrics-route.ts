/** `GET /metrics`: everything that was counted, in Prometheus' text format. Needs `monitoring:read`. */
import type { MetricFamily, Metrics, Series } from "../base/metrics.ts";
import type { HttpRoute } from "./server/http-routes.ts";

export function metricsRoute(metrics: Metrics): HttpRoute {
  return {
    method: "GET",
    path: "/metrics",
    access: { scope: "monitoring:read" },
    async handle() {
      const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" };
      return { status: 200, headers, body: metricsText(await metrics.collect()) };
    },
  };
}

/** A metric with labels and without a series yet is named all the same, so that dashboards know it. */
function metricsText(families: readonly MetricFamily[]): string {
  return families.map(familyText).join("");
}

function familyText(family: MetricFamily): string {
  const lines = [`# HELP ${family.name} ${escaped(family.help, /[\\\n]/g)}`, `# TYPE ${family.name} ${family.kind}`];
  for (const series of family.series) lines.push(...seriesLines(family, series));
  return `${lines.join("\n")}\n`;
}

function seriesLines({ name, labels, bounds }: MetricFamily, series: Series): string[] {
  const pairs = labels.map((label, index) => `${label}="${escaped(series.labels[index] ?? "", /[\\"\n]/g)}"`);
  const { value } = series;
  if (typeof value === "number") return [`${name}${braces(pairs)} ${numberText(value)}`];
  let below = 0;
  const buckets = value.counts.map((count, index) => {
    below += count;
    const bound = bounds[index];
    return `${name}_bucket${braces([...pairs, `le="${bound === undefined ? "+Inf" : numberText(bound)}"`])} ${below}`;
  });
  return [...buckets, `${name}_sum${braces(pairs)} ${numberText(value.sum)}`, `${name}_count${braces(pairs)} ${value.count}`];
}

function braces(pairs: readonly string[]): string {
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
}

function escaped(text: string, special: RegExp): string {
  return text.replace(special, (character) => (character === "\n" ? "\\n" : `\\${character}`));
}
