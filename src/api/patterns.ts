/** The schema's patterns in words, for messages. A test sees to it that every pattern is here. */
const WORDS: Readonly<Record<string, string>> = {
  '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$':
    "lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
  '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$': "lower-case letters, digits and '-', beginning and ending with a letter or digit",
  '^[A-Za-z0-9_][A-Za-z0-9_-]*$': "letters, digits, '_' and '-', not beginning with '-'",
  '^[A-Za-z0-9-]+$': "letters, digits and '-'",
  '^(s3://|file:)': 's3://bucket/prefix, file:///folder or file:folder',
  '^((delta|parquet|iceberg|csv|ndjson):)?(s3://|file:)':
    's3://bucket/prefix, file:///folder or file:folder, with a format such as parquet: before it if need be',
  '^file:': 'file:///folder or file:folder',
  '^/': 'a path that begins with /',
  '^[A-Za-z0-9._-]+$': "letters, digits, '.', '_' and '-'",
  '^[0-9]+([.][0-9]+)?m?$': 'a quantity of processors such as 500m or 2',
  '^[A-Za-z_][A-Za-z0-9_]*$': "letters, digits and '_', not beginning with a digit",
  '^[^/@]+:[0-9]{1,5}$': 'host:port',
  '^https?://': 'http://host:port or https://host',
  '^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$': 'a quantity of bytes such as 512Mi or 50Gi',
  '^(0|[1-9][0-9]*)$': 'a version number such as "12"',
  '^[0-9]+([.][0-9]+)?([eE][+-]?[0-9]{1,3})?$': 'a decimal number that is not negative, such as "1e-9"',
  '^[0-9]+([.][0-9]+){0,3}$': 'a version such as "16" or "8.4"',
  '^[A-Za-z0-9][A-Za-z0-9._/:@-]*$': 'an image such as registry/name:tag',
  '^[A-Za-z0-9./_-]+=[A-Za-z0-9._-]*(,[A-Za-z0-9./_-]+=[A-Za-z0-9._-]*)*$': 'labels such as app=worker,tier=etl',
  '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$': 'an instant in UTC such as 2026-01-01T00:00:00Z',
  '^([A-Za-z_][A-Za-z0-9_$]*|"([^"]|"")+")[.]([A-Za-z_][A-Za-z0-9_$]*|"([^"]|"")+")$':
    'a schema such as DATABASE.SCHEMA',
  '^[0-9A-Fa-f.:]+/[0-9]{1,3}$': 'a block of addresses such as 10.1.0.0/16',
};

/** What a pattern asks for, to go after "it must be". */
export function inWords(pattern: string): string {
  return WORDS[pattern] ?? `text that matches ${pattern}`;
}

/** Whether a pattern has words of its own. */
export function hasWords(pattern: string): boolean {
  return Object.hasOwn(WORDS, pattern);
}
