/**
 * The types of a table's columns, as the Delta protocol names them
 * (https://github.com/delta-io/delta/blob/master/PROTOCOL.md#schema-serialization-format). Every format is read into these.
 */
export type DataType = PrimitiveType | DecimalType | StructType | ArrayType | MapType;

export type PrimitiveName =
  | 'byte'
  | 'short'
  | 'integer'
  | 'long'
  | 'float'
  | 'double'
  | 'boolean'
  | 'string'
  | 'binary'
  | 'date'
  | 'timestamp' // an instant, microseconds
  | 'timestamp_ntz'; // a wall clock, microseconds, no zone

export interface PrimitiveType {
  readonly kind: PrimitiveName;
}
export interface DecimalType {
  readonly kind: 'decimal';
  readonly precision: number;
  readonly scale: number;
}
export interface StructType {
  readonly kind: 'struct';
  readonly fields: readonly Field[];
}
export interface ArrayType {
  readonly kind: 'array';
  readonly element: DataType;
  readonly containsNull: boolean;
}
export interface MapType {
  readonly kind: 'map';
  readonly key: DataType;
  readonly value: DataType;
  readonly valueContainsNull: boolean;
}

/** A column of a table or a field of a struct. */
export interface Field {
  /** The logical name: what users, reports and queries say. */
  readonly name: string;
  readonly type: DataType;
  readonly nullable: boolean;
  /** The name inside the Parquet files; differs from `name` under column mapping. */
  readonly physicalName: string;
}
