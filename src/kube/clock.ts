/** Time as queues, leases and recorders see it, so that tests can move it. */
export interface Clock {
  /** A time in ms that only grows, whatever happens to the wall clock. */
  now(): number;
  /** Calls once after the time, in ms; returns what cancels it. */
  after(ms: number, call: () => void): () => void;
}

/** Timers hold no longer: a longer wait given to `setTimeout` ends at once. */
const longestTimerMs = 2 ** 31 - 1;

/** The computer's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, call) => {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      timer = setTimeout(
        () => (left > longestTimerMs ? wait(left - longestTimerMs) : call()),
        Math.min(Math.max(0, left), longestTimerMs),
      );
    };
    wait(ms);
    return () => clearTimeout(timer);
  },
};
