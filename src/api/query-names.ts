/** Whether a case is the query of that name, or one of those that an inherited query stands for: `production/daily-orders`. */
export function isOf(caseName: string, queryName: string): boolean {
  return caseName === queryName || caseName.startsWith(`${queryName}/`);
}
