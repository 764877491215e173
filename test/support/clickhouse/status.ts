/** The HTTP status for a number of ClickHouse's errors (contract.md). */
export function statusOf(code: number): number {
  return [...statuses].find(([, codes]) => codes.includes(code))?.[0] ?? 500;
}

/** Numbers: ErrorCodes.cpp; statuses: exceptionCodeToHTTPStatus.cpp. */
const statuses: ReadonlyMap<number, readonly number[]> = new Map([
  [401, [194]],
  [403, [192, 193, 497, 516]],
  [400, [6, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 427]],
  [404, [46, 47, 50, 56, 60, 63, 73, 81, 115]],
  [408, [159]],
  [413, [66]],
  [501, [48]],
  [503, [76, 209]],
]);
