/** How far the usage rollup of a tenant has read. */
import { defineEntity, p } from "@mikro-orm/core";

export const templateUsageCursorSchema = defineEntity({
  name: "TemplateUsageCursor",
  tableName: "template_usage_cursors",
  properties: {
    tenantId: p.text().primary(),
    startedId: p.uuid(),
    endTime: p.datetime(3),
    endId: p.uuid(),
    workflowsTime: p.datetime(3),
  },
});

export class TemplateUsageCursor extends templateUsageCursorSchema.class {}
templateUsageCursorSchema.setClass(TemplateUsageCursor);
