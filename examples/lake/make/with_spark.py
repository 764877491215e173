"""What Spark writes: weather (deletion vectors, a v2 checkpoint, INT96) and planes (column mapping, a multi-part checkpoint)."""
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import data


def session(jars: Path, scratch: Path) -> SparkSession:
    return (
        SparkSession.builder.master("local[2]").appName("example-lake")
        .config("spark.jars", ",".join(str(jar) for jar in sorted(jars.glob("*.jar"))))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC")
        .config("spark.driver.memory", "3g")
        .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.hadoop.parquet.compression.codec.zstd.level", "19")
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.local.dir", str(scratch))
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED")
        .config("spark.sql.parquet.int96RebaseModeInRead", "CORRECTED")
        .getOrCreate()
    )


def _frame(spark: SparkSession, table) -> DataFrame:
    return spark.createDataFrame(table).coalesce(1)


def _run(spark: SparkSession, path: Path, *statements: str) -> None:
    for statement in statements:
        spark.sql(statement.replace("{table}", f"delta.`{path}`"))


def weather(spark: SparkSession, path: Path) -> None:
    """Deletion vectors live at the base, one of them replaced by a larger one before the target."""
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")  # Spark's own default: many real tables hold INT96
    spark.conf.set("spark.databricks.delta.checkpointV2.topLevelFileFormat", "json")
    everything = _frame(spark, data.weather())
    month, day = F.col("month"), F.col("day")
    _run(spark, path, """CREATE TABLE {table} (
            origin STRING, year INT, month INT, day INT, hour INT, temp DOUBLE, dewp DOUBLE, humid DOUBLE, wind_dir INT, wind_speed DOUBLE,
            wind_gust DOUBLE, precip DOUBLE, pressure DECIMAL(6,1), visib DOUBLE, time_hour TIMESTAMP, updated_at TIMESTAMP)
        USING delta PARTITIONED BY (origin) COMMENT 'Hourly weather at the airports of New York in 2013'
        TBLPROPERTIES ('delta.enableDeletionVectors' = 'true', 'delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '5')""")    # 0

    def append(part: DataFrame) -> None:
        part.coalesce(1).write.format("delta").mode("append").save(str(path))

    append(everything.where(month <= 6))                                                                                     # 1
    append(everything.where((month >= 7) & (month <= 11)))                                                                   # 2
    _run(spark, path,
         "DELETE FROM {table} WHERE wind_speed > 100",                                                                       # 3
         "DELETE FROM {table} WHERE month IN (2, 8) AND day <= 2 AND hour < 6",                                              # 4
         "UPDATE {table} SET wind_gust = NULL, updated_at = TIMESTAMP'2013-12-01T12:00:00.123456Z' WHERE month = 3 AND wind_gust > 40")   # 5: checkpoint
    append(everything.where((month == 12) & (day <= 20)))                                                                    # 6: the base
    append(everything.where((month == 12) & (day > 20)))                                                                     # 7
    _run(spark, path,
         "UPDATE {table} SET visib = visib - 0.5, updated_at = TIMESTAMP'2014-01-01T00:00:00.000001Z' WHERE month = 12 AND day = 10 AND origin = 'JFK'",   # 8
         "DELETE FROM {table} WHERE month = 2 AND day = 9 AND origin IN ('JFK', 'LGA')")                                     # 9: the target


def planes(spark: SparkSession, path: Path) -> None:
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    spark.conf.set("spark.databricks.delta.checkpoint.partSize", "1")  # as many parts as live files: a multi-part checkpoint
    everything = data.planes()
    _run(spark, path, """CREATE TABLE {table} (
            tailnum STRING NOT NULL, year INT, type STRING, manufacturer STRING, model STRING, engines INT, seats INT, speed INT, engine STRING,
            updated_at TIMESTAMP)
        USING delta COMMENT 'Planes seen in flights'
        TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5',
                       'delta.checkpointInterval' = '6')""")                                                                 # 0

    def append(part, names) -> None:
        _frame(spark, part).toDF(*names).write.format("delta").mode("append").save(str(path))

    append(everything.slice(0, 2000), everything.schema.names)                                                               # 1
    append(everything.slice(2000, 1000), everything.schema.names)                                                            # 2
    _run(spark, path,
         "ALTER TABLE {table} RENAME COLUMN year TO year_built",                                                             # 3
         "ALTER TABLE {table} DROP COLUMN speed",                                                                            # 4
         "ALTER TABLE {table} ADD COLUMN (`seat class` STRING)",                                                             # 5
         "UPDATE {table} SET `seat class` = CASE WHEN seats > 200 THEN 'wide' ELSE 'narrow' END, "                           # 6: the base; checkpoint
         "updated_at = TIMESTAMP'2013-06-01T00:00:00Z' WHERE manufacturer = 'BOEING'")
    renamed = everything.slice(3000).drop_columns(["speed"]).rename_columns({"year": "year_built"})
    later = _frame(spark, renamed).withColumn("updated_at", F.col("updated_at") + F.expr("INTERVAL 1 YEAR"))
    later.write.format("delta").mode("append").save(str(path))                                                               # 7
    _run(spark, path,
         "UPDATE {table} SET seats = seats + 1, updated_at = TIMESTAMP'2014-02-01T00:00:00Z' WHERE model = 'A320-232'",       # 8
         "DELETE FROM {table} WHERE type = 'Rotorcraft'")                                                                    # 9: the target
