/** Columns that PostHog's data warehouse adds to the tables it lands: they were never the source's. */
export const POSTHOG_COLUMNS: readonly string[] = ['_ph_debug', '_ph_partition_key', '_dlt_id', '_dlt_load_id'];
