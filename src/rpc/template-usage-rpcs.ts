/** TemplateService: how templates are used. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  GetTemplateUsageStatsResponseSchema,
  type TemplateService,
  TemplateUsageBucketSchema,
  TemplateVersionUsageSchema,
  UsageBucketSize,
} from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { violationsError } from "../base/errors.ts";
import type { UsageWindow } from "../store/usage-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { templateNotFound } from "./template-content.ts";
import { usageToMessage } from "./wire/template-usage.ts";
import { msOfTimestamp, timestampOf } from "./wire/time.ts";

type UsageRpcs = Pick<ServiceImpl<typeof TemplateService>, "getTemplateUsageStats">;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const windowMsDefault = 30 * dayMs;
const windowMsMax = 90 * dayMs;
const hourlyWindowMsMax = 7 * dayMs;

export function templateUsageRpcs(parts: RpcParts): UsageRpcs {
  return {
    async getTemplateUsageStats(request, context) {
      const caller = callerOf(context);
      const window = windowOf(msOfTimestamp(request.startTime), msOfTimestamp(request.endTime) ?? parts.clock.now(), request.bucketSize);
      const found = await parts.templates.getTemplate(caller, request.template, { showDeleted: true });
      if (!found) throw templateNotFound(request.template);
      const { total, versions, buckets } = await parts.usage.readUsage(caller, found.template.id, window);
      return create(GetTemplateUsageStatsResponseSchema, {
        total: usageToMessage(total.counts, total.workflows),
        versions: versions.map(({ version, counts, workflows }) => create(TemplateVersionUsageSchema, { version, usage: usageToMessage(counts, workflows) })),
        buckets: buckets.map(({ startAt, counts, workflows }) =>
          create(TemplateUsageBucketSchema, { startTime: timestampOf(startAt), usage: usageToMessage(counts, workflows) }),
        ),
      });
    },
  };
}

/** Whole buckets: the first one holds the start, the last one the end. */
function windowOf(startAt: number | undefined, endAt: number, size: UsageBucketSize): UsageWindow {
  const hourly = size === UsageBucketSize.HOUR;
  const from = startAt ?? endAt - (hourly ? hourlyWindowMsMax : windowMsDefault);
  const spanMax = hourly ? hourlyWindowMsMax : windowMsMax;
  if (from >= endAt || endAt - from > spanMax) {
    const description = `must be before end_time, by at most ${spanMax / dayMs} days${hourly ? " with hourly buckets" : ""}`;
    throw violationsError([{ field: "start_time", reason: "VALIDATION_FAILED", description }]);
  }
  const bucketMs = hourly ? hourMs : dayMs;
  return { from: Math.floor(from / bucketMs) * bucketMs, to: Math.ceil(endAt / bucketMs) * bucketMs, bucketMs };
}
