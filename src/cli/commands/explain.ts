import { explain } from '../../api/explain.ts';
import type { Io } from './io.ts';

/** `parity explain`: what the manifest's schema says about a field. Throws `BadUsage` with a suggestion. */
export async function explainCommand(field: string | undefined, io: Io): Promise<number> {
  io.out(explain(field ?? ''));
  return 0;
}
