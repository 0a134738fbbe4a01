/**
 * The types of the example warehouse, as its .proto would declare them:
 *
 *     package shop.v1;
 *     service Warehouse {
 *       rpc Reserve(ReserveRequest) returns (Reservation);
 *       rpc Release(ReleaseRequest) returns (Reservation);
 *       rpc WatchStock(WatchStockRequest) returns (stream StockLevel);
 *       rpc Import(stream StockLevel) returns (Reservation);
 *       rpc GetLedger(google.protobuf.Struct) returns (google.protobuf.Struct);
 *     }
 */
import { createFileRegistry, fromJson, type JsonObject } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, file_google_protobuf_struct, file_google_protobuf_timestamp } from "@bufbuild/protobuf/wkt";

type Field = readonly [name: string, number: number, type: string, typeName?: string];

const message = (name: string, fields: readonly Field[]): JsonObject => ({
  name,
  field: fields.map(([field, number, type, typeName]) => ({
    name: field,
    number,
    type: `TYPE_${type}`,
    label: "LABEL_OPTIONAL",
    jsonName: field.replace(/_(.)/g, (_match, letter: string) => letter.toUpperCase()),
    ...(typeName ? { typeName } : {}),
  })),
});
const rpc = (name: string, inputType: string, outputType: string, more: JsonObject = {}): JsonObject => ({ name, inputType, outputType, ...more });

const reservation: readonly Field[] = [
  ["reservation_id", 1, "STRING"],
  ["order_id", 2, "STRING"],
  ["sku", 3, "STRING"],
  ["quantity", 4, "INT64"],
  ["state", 5, "ENUM", ".shop.v1.ReservationState"],
  ["create_time", 6, "MESSAGE", ".google.protobuf.Timestamp"],
  ["note", 7, "STRING"],
];

/** `extraField` is what a later version of the sibling adds. */
export function warehouseFile(extraField?: string): FileDescriptorProto {
  return fromJson(FileDescriptorProtoSchema, {
    name: "shop/v1/warehouse.proto",
    package: "shop.v1",
    syntax: "proto3",
    dependency: ["google/protobuf/struct.proto", "google/protobuf/timestamp.proto"],
    enumType: [
      {
        name: "ReservationState",
        value: ["UNSPECIFIED", "HELD", "RELEASED"].map((name, number) => ({ name: `RESERVATION_STATE_${name}`, number })),
      },
    ],
    messageType: [
      message("ReserveRequest", [
        ["reservation_id", 1, "STRING"],
        ["order_id", 2, "STRING"],
        ["sku", 3, "STRING"],
        ["quantity", 4, "INT64"],
        ...(extraField ? ([[extraField, 5, "STRING"]] as const) : []),
      ]),
      message("ReleaseRequest", [["reservation_id", 1, "STRING"]]),
      message("Reservation", reservation),
      message("WatchStockRequest", [["sku", 1, "STRING"]]),
      message("StockLevel", [
        ["sku", 1, "STRING"],
        ["quantity", 2, "INT32"],
      ]),
    ],
    service: [
      {
        name: "Warehouse",
        method: [
          rpc("Reserve", ".shop.v1.ReserveRequest", ".shop.v1.Reservation"),
          rpc("Release", ".shop.v1.ReleaseRequest", ".shop.v1.Reservation"),
          rpc("WatchStock", ".shop.v1.WatchStockRequest", ".shop.v1.StockLevel", { serverStreaming: true }),
          rpc("Import", ".shop.v1.StockLevel", ".shop.v1.Reservation", { clientStreaming: true }),
          rpc("GetLedger", ".google.protobuf.Struct", ".google.protobuf.Struct"),
        ],
      },
    ],
  });
}

export function warehouseService(extraField?: string) {
  const imports = [file_google_protobuf_struct, file_google_protobuf_timestamp];
  const registry = createFileRegistry(warehouseFile(extraField), (name) => imports.find((file) => file.proto.name === name)?.proto);
  const service = registry.getService("shop.v1.Warehouse");
  if (!service) throw new Error("the warehouse has no service");
  return service;
}
