/** How templates were used, as messages. */
import { create } from "@bufbuild/protobuf";
import { type TemplateUsage, TemplateUsageSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { durationPercentile, mostFailingStep, successRate, type UsageCounts } from "../../domain/templates/usage-counts.ts";
import { durationOf, timestampOf } from "./time.ts";

/** Percentiles are of completed executions and unset while there are none. */
export function usageToMessage(counts: UsageCounts, workflows: number): TemplateUsage {
  return create(TemplateUsageSchema, {
    workflowCount: BigInt(workflows),
    executionCount: BigInt(counts.started),
    successRate: successRate(counts),
    durationP50: durationOf(durationPercentile(counts.durations, 0.5)),
    durationP95: durationOf(durationPercentile(counts.durations, 0.95)),
    durationP99: durationOf(durationPercentile(counts.durations, 0.99)),
    mostFailingStep: mostFailingStep(counts.failedSteps) ?? "",
    lastUsedTime: timestampOf(counts.lastStartedAt),
  });
}
