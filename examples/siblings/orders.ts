/**
 * The orders API: lines of an order as CSV, stock reservations, shipments and confirmations.
 *
 * | call | answer |
 * |---|---|
 * | GET /orders, /orders/{id}/lines.csv | from `examples/data` |
 * | POST /reservations, /shipments, /confirmations | 201; the caller chooses the id, so it can be undone even when no answer arrived |
 * | POST /shipments to a country without a courier (AQ) | 422 NO_COURIER |
 * | DELETE /reservations/{id}, /shipments/{id} | 200, or 404 when there is none |
 */
import { readFileSync } from "node:fs";
import { serve } from "./serve.ts";

const data = new URL("../data/", import.meta.url);
const orders = JSON.parse(readFileSync(new URL("orders.json", data), "utf8")) as readonly { readonly order_id: string }[];
const [header = "", ...lines] = readFileSync(new URL("order-lines.csv", data), "utf8").trimEnd().split("\n");

const idFields: ReadonlyMap<string, string> = new Map([
  ["reservations", "reservation_id"],
  ["shipments", "shipment_id"],
  ["confirmations", "confirmation_id"],
]);
const standing = new Set<string>();

await serve({
  get([collection, id, file]) {
    if (collection !== "orders") return undefined;
    if (id === undefined) return { status: 200, body: orders };
    if (file !== "lines.csv" || !orders.some((order) => order.order_id === id)) return undefined;
    return { status: 200, mediaType: "text/csv", body: `${[header, ...lines.filter((line) => line.startsWith(`${id},`))].join("\n")}\n` };
  },
  act({ method, path: [collection = "", id], body }) {
    const idField = idFields.get(collection);
    if (!idField) return undefined;
    if (method === "POST" && id === undefined) {
      return () => {
        const chosen = body[idField];
        if (typeof chosen !== "string") return { status: 400, body: { error: "ID_MISSING", message: `give ${idField}` } };
        if (collection === "shipments" && body["country"] === "AQ") return { status: 422, body: { error: "NO_COURIER", message: "nobody delivers to AQ" } };
        standing.add(`${collection}/${chosen}`);
        return { status: 201, body: { [idField]: chosen, order_id: body["order_id"], state: "created" } };
      };
    }
    if (method !== "DELETE" || id === undefined) return undefined;
    return () =>
      standing.delete(`${collection}/${id}`) ? { status: 200, body: { [idField]: id, state: "canceled" } } : { status: 404, body: { error: "NOT_FOUND" } };
  },
});
