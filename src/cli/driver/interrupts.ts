/** What Ctrl-C means to a run: once cancels it, twice hurries, three times leaves at once. */
export interface Interrupts {
  readonly signal: AbortSignal;
  readonly hurry: AbortSignal;
  /** Gives the signals back to their defaults. */
  dispose(): void;
}

/**
 * Listens for SIGINT, SIGTERM and SIGHUP (a closed terminal). The first aborts `signal`, the second `hurry`; at the third `leave` is called: what is left
 * then is for `parity gc`.
 */
export function listenForInterrupts(leave: () => void): Interrupts {
  const cancel = new AbortController();
  const hurry = new AbortController();
  const onSignal = () => {
    if (!cancel.signal.aborted) cancel.abort();
    else if (!hurry.signal.aborted) hurry.abort();
    else leave();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of signals) process.on(name, onSignal);
  return {
    signal: cancel.signal,
    hurry: hurry.signal,
    dispose: () => {
      for (const name of signals) process.off(name, onSignal);
    },
  };
}
