"""An emulated Snowflake account that the Node driver can talk to: fakesnow (DuckDB) behind the driver's own HTTP protocol.

    python server.py ACCOUNT.json

ACCOUNT.json says who may log in and what the account has; the server picks a port and prints it. What fakesnow lacks and a driver needs is
here: credentials are checked, results are JSON rowsets, tables are unloaded to stages (COPY INTO @stage), staged files are fetched (GET) and
removed (REMOVE). Where it differs from a real account is listed in docs/reference/snowflake.md.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from string import Template
from typing import Any

import jwt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import snowflake.connector.errors as sf_errors
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from fakesnow import copy_into, cursor, info_schema, transforms
from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.dialect import parse_one
from fakesnow.instance import FakeSnow
from fakesnow.rowtype import describe_as_rowtype
from fakesnow.statement_type import statement_type_id
from fakesnow.transforms import stage as stages
from sqlglot import exp
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class Account:
    """What ACCOUNT.json says."""

    account: str
    user: str
    password: str
    publicKey: str
    token: str
    warehouse: str
    database: str
    role: str


@dataclass
class Session:
    connection: FakeSnowflakeConnection
    # DuckDB cursors are not for two threads at once; a session's statements run one after the other, as on an account.
    lock: threading.Lock = field(default_factory=threading.Lock)
    temporary_stages: list[str] = field(default_factory=list)


class Refused(Exception):
    """An answer of the account's own: its code, SQLSTATE and words."""

    def __init__(self, code: str, message: str, sqlstate: str = "08001") -> None:
        super().__init__(message)
        self.code, self.message, self.sqlstate = code, message, sqlstate


ACCOUNT: Account
ENGINE = FakeSnow(create_database_on_connect=False, create_schema_on_connect=False)
SESSIONS: dict[str, Session] = {}
# Every statement that arrived, for tests that count them.
STATEMENTS: list[dict[str, Any]] = []


# ---- logging in -----------------------------------------------------------------------------------------------------------------------


async def login(request: Request) -> Response:
    data = (await body_of(request))["data"]
    query = request.query_params
    if str(data.get("ACCOUNT_NAME", "")).upper() != ACCOUNT.account.upper():
        return Response(status_code=404)
    try:
        authenticate(data)
        check_role(query.get("roleName", ACCOUNT.role))
    except Refused as refused:
        return refusal(refused)
    connection = ENGINE.connect(query.get("databaseName"), query.get("schemaName"))
    token = secrets.token_urlsafe(24)
    SESSIONS[token] = Session(connection)
    parameters = [
        {"name": "AUTOCOMMIT", "value": True},
        {"name": "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", "value": 3600},
        {"name": "CLIENT_TELEMETRY_ENABLED", "value": False},
    ]
    info = {"databaseName": connection.database, "schemaName": connection.schema}
    return reply({"token": token, "masterToken": token, "parameters": parameters, "sessionInfo": info, "sessionId": 1})


def authenticate(data: dict[str, Any]) -> None:
    """The codes and words are those of an account."""
    user = str(data.get("LOGIN_NAME", ""))
    match data.get("AUTHENTICATOR", "SNOWFLAKE").upper():
        case "SNOWFLAKE_JWT":
            if not is_signed(user, str(data.get("TOKEN", ""))):
                raise Refused("390144", "JWT token is invalid.")
        case "OAUTH":
            if data.get("TOKEN") != ACCOUNT.token:
                raise Refused("390303", "Invalid OAuth access token.")
        case "SNOWFLAKE":
            if user.upper() != ACCOUNT.user.upper() or data.get("PASSWORD") != ACCOUNT.password:
                raise Refused("390100", "Incorrect username or password was specified.")
        case other:
            raise Refused("390160", f"Authenticator {other} is not accepted.")


def is_signed(user: str, token: str) -> bool:
    """Key-pair authentication: https://docs.snowflake.com/en/developer-guide/sql-api/authenticating"""
    key = load_pem_public_key(ACCOUNT.publicKey.encode())
    print_of_key = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    subject = f"{ACCOUNT.account}.{ACCOUNT.user}".upper()
    try:
        # The driver writes times in milliseconds, where the standard has seconds; accounts take that.
        unchecked = {"verify_iat": False, "verify_exp": False}
        claims = jwt.decode(token, key, algorithms=["RS256"], options=unchecked)  # type: ignore[arg-type]
    except jwt.PyJWTError:
        return False
    issuer = f"{subject}.SHA256:{base64.b64encode(print_of_key).decode()}"
    is_current = claims.get("exp", 0) / 1000 > time.time()
    return user.upper() == ACCOUNT.user.upper() and claims.get("sub") == subject and claims.get("iss") == issuer and is_current


def check_role(role: str) -> None:
    """Of what a session names, an account checks only this when it logs in."""
    if role.strip('"').upper() != ACCOUNT.role.upper():
        raise Refused("390189", f"Role '{role}' specified in the connect string does not exist or not authorized.")


async def end_session(request: Request) -> Response:
    session = SESSIONS.get(token_of(request))
    if session is None:
        return refusal(Refused("390104", "User must login again to access the service."))
    if request.query_params.get("delete"):
        del SESSIONS[token_of(request)]
        # On an account temporary objects go with their session; fakesnow keeps stages.
        for directory in session.temporary_stages:
            shutil.rmtree(directory, ignore_errors=True)
        with session.lock:
            session.connection.close()
    return reply(None)


# ---- statements -----------------------------------------------------------------------------------------------------------------------


async def query(request: Request) -> Response:
    session = SESSIONS.get(token_of(request))
    if session is None:
        return refusal(Refused("390104", "User must login again to access the service."))
    body = await body_of(request)
    STATEMENTS.append({"text": body["sqlText"], "binds": bool(body.get("bindings"))})
    try:
        return reply(await run_in_threadpool(answer, session, body["sqlText"]))
    except Refused as refused:
        return refusal(refused)
    except sf_errors.Error as error:
        return refusal(Refused(f"{error.errno:06d}", error.msg or "", error.sqlstate or ""))
    except Exception as error:  # noqa: BLE001 - a statement that fakesnow cannot run is the statement's failure, not the server's
        return refusal(Refused("000603", f"SQL execution internal error: {type(error).__name__}: {error}", "XX000"))


def answer(session: Session, text: str) -> dict[str, Any]:
    with session.lock:
        if match := UNLOAD.match(text):
            return unload(session, match)
        if match := FETCH.match(text):
            return fetch(session, match)
        if match := REMOVE.match(text):
            return remove(session, match)
        if match := ALTER_SESSION.match(text):
            return alter_session(session, match)
        if match := USE_WAREHOUSE.match(text):
            return use_warehouse(match)
        if match := SHOW_SCHEMAS.match(text):
            return show_schemas(session, match)
        if match := CLONE.match(text):
            prepare_clone(session, match)
        answered = execute(session, text)
        if match := CREATE_SCHEMA.match(text):
            COMMENTS.setdefault(match["name"].replace('"', ""), match["comment"])
        if match := DROP_SCHEMA.match(text):
            # What is on the schema's stages goes with it.
            COMMENTS.pop(match["name"], None)
            shutil.rmtree(os.path.join(stages.LOCAL_BUCKET_PATH, match["database"].upper(), match["name"]), ignore_errors=True)
        return answered


def execute(session: Session, text: str) -> dict[str, Any]:
    run = session.connection.cursor()
    run.execute(text, server=True)
    transformed = run._last_transformed  # noqa: SLF001
    if transformed is not None and (upload := transformed.args.get("put_stage_data")):
        # LOCAL_FS: the driver copies the file by itself, for it shares this file system.
        return upload
    if match := TEMPORARY_STAGE.match(text):
        session.temporary_stages.append(directory_of(session, match["stage"]))
    columns = describe_as_rowtype(run._describe_last_sql())  # noqa: SLF001
    table: pa.Table | None = run._arrow_table  # noqa: SLF001
    rows = [] if table is None else rowset(table, columns)
    return result(columns, rows, statement_type_id(parse_one(text)))


def result(columns: list[Any], rows: list[list[str | None]], type_id: int = 0) -> dict[str, Any]:
    return {
        "rowtype": columns,
        "rowset": rows,
        "total": len(rows),
        "returned": len(rows),
        "queryId": secrets.token_hex(16),
        "queryResultFormat": "json",
        "statementTypeId": type_id,
        "parameters": [{"name": "TIMEZONE", "value": "UTC"}],
    }


# ---- what fakesnow lacks -------------------------------------------------------------------------------------------------------------

ALTER_SESSION = re.compile(r"\s*ALTER\s+SESSION\s+SET\s+(?P<settings>.*)$", re.I | re.S)
SETTING = re.compile(r"(\w+)\s*=\s*('[^']*'|\w+)")
USE_WAREHOUSE = re.compile(r"\s*USE\s+WAREHOUSE\s+(?P<name>\S+)\s*$", re.I)
SHOW_SCHEMAS = re.compile(r"\s*SHOW\s+SCHEMAS\s+LIKE\s+'(?P<like>[^']*)'\s+IN\s+DATABASE\s+(?P<database>\S+)\s*$", re.I)
CREATE_SCHEMA = re.compile(r"\s*CREATE\s+TRANSIENT\s+SCHEMA\s+IF\s+NOT\s+EXISTS\s+(?:\w+\.)?(?P<name>\S+)\s.*COMMENT\s*=\s*'(?P<comment>[^']*)'", re.I | re.S)
DROP_SCHEMA = re.compile(r'\s*DROP\s+SCHEMA\s+IF\s+EXISTS\s+(?P<database>\w+)\."?(?P<name>\w+)"?\s+CASCADE', re.I)
# What CREATE SCHEMA said, which fakesnow forgets.
COMMENTS: dict[str, str] = {}
# Parameters that an account has and whose effect is this server's own behaviour.
PARAMETERS = {
    "QUOTED_IDENTIFIERS_IGNORE_CASE": "FALSE",
    "DEFAULT_DDL_COLLATION": "''",
    "TIMEZONE": "'UTC'",
    "DATE_INPUT_FORMAT": "'AUTO'",
    "TIMESTAMP_INPUT_FORMAT": "'AUTO'",
    "ABORT_DETACHED_QUERY": "TRUE",
    "AUTOCOMMIT": "TRUE",
}


# Its own clone is a copy, and knows neither OR REPLACE nor a history.
CLONE = re.compile(r'\s*CREATE\s+OR\s+REPLACE\s+TRANSIENT\s+TABLE\s+(?P<name>"(?:[^"]|"")+")\s+CLONE\s+(?P<source>\S+)(?P<at>\s+AT\s*\(.*)?$', re.I | re.S)


def prepare_clone(session: Session, match: re.Match[str]) -> None:
    execute(session, f"DESCRIBE TABLE {match['source']}")
    if match["at"]:
        raise Refused("000707", f"Time travel data is not available for table {match['source']}.", "02000")
    execute(session, f"DROP TABLE IF EXISTS {match['name']}")


def alter_session(_: Session, match: re.Match[str]) -> dict[str, Any]:
    for name, value in SETTING.findall(match["settings"]):
        if PARAMETERS.get(name.upper()) != value.upper():
            raise Refused("001420", f"SQL compilation error: invalid value [{value}] for parameter '{name}'", "22023")
    return result([text("status")], [["Statement executed successfully."]])


def use_warehouse(match: re.Match[str]) -> dict[str, Any]:
    if match["name"].strip('"').upper() != ACCOUNT.warehouse.upper():
        raise Refused("002043", "SQL compilation error:\nObject does not exist, or operation cannot be performed.", "02000")
    return result([text("status")], [["Statement executed successfully."]])


def show_schemas(session: Session, match: re.Match[str]) -> dict[str, Any]:
    database = match["database"].strip('"').upper()
    sql = "SELECT schema_name FROM information_schema.schemata WHERE upper(catalog_name) = ? AND schema_name ILIKE ? ORDER BY 1"
    found = session.connection._duck_conn.execute(sql, [database, match["like"]]).fetchall()  # noqa: SLF001
    rows = [[name, database, COMMENTS.get(name, "")] for (name,) in found]
    return result([text("name"), text("database_name"), text("comment")], rows)


def keep_quotes_in_names() -> None:
    """fakesnow writes names into its own tables as SQL text and forgets to double the quotes in them."""
    for name, function in [(n, f) for n, f in vars(info_schema).items() if n.startswith("insert_")]:

        def careful(*args: Any, function: Any = function) -> str:
            return function(*[doubled(arg) for arg in args])

        setattr(info_schema, name, careful)
    for name, template in [(n, t) for n, t in vars(cursor).items() if isinstance(t, Template)]:
        setattr(cursor, name, CarefulTemplate(template.template))


class CarefulTemplate(Template):
    def substitute(self, **names: Any) -> str:  # type: ignore[override]
        return super().substitute(**{name: doubled(value) for name, value in names.items()})


def keep_38_digits() -> None:
    """fakesnow makes NUMBER(38,0) an integer of 64 bits."""
    shorten = transforms.integer_precision
    transforms.integer_precision = lambda node: node if is_number(node) else shorten(node)


def is_number(node: Any) -> bool:
    return isinstance(node, exp.DataType) and node.this == exp.DataType.Type.DECIMAL and len(node.expressions) == 2


def describe_temporary_tables() -> None:
    """fakesnow looks for the table that COPY loads in the current schema, where DuckDB's temporary tables are not."""

    def describe(table: Any, connection: Any, *_: Any) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in connection.execute(f'DESCRIBE "{table.name}"').fetchall()]

    copy_into._describe_table = describe  # noqa: SLF001


def doubled(value: Any) -> Any:
    match value:
        case str():
            return value.replace("'", "''")
        case list():
            return [doubled(one) for one in value]
        case tuple():
            return tuple(doubled(one) for one in value)
        case _:
            return value


# ---- stages ---------------------------------------------------------------------------------------------------------------------------

STAGE = r"@(?P<stage>\w+)(?P<path>(?:/[\w.-]+)*)/?"
UNLOAD = re.compile(rf"\s*COPY\s+INTO\s+{STAGE}\s+FROM\s*\((?P<query>.*)\)\s*FILE_FORMAT\s*=\s*\(\s*TYPE\s*=\s*PARQUET[^)]*\)(?P<options>[\w\s=]*)$", re.I | re.S)
FETCH = re.compile(rf"\s*GET\s+{STAGE}\s+'file://(?P<folder>(?:[^'\\]|\\.)*)'", re.I | re.S)
REMOVE = re.compile(rf"\s*REMOVE\s+{STAGE}\s*$", re.I)
TEMPORARY_STAGE = re.compile(r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?TEMPORARY\s+STAGE\s+(?P<stage>\w+)", re.I)


def directory_of(session: Session, stage: str, path: str = "") -> str:
    names = stages.parts_from_var(stage, session.connection.database, session.connection.schema)
    return stages.internal_dir(".".join(names), path.strip("/"))


def unload(session: Session, match: re.Match[str]) -> dict[str, Any]:
    """COPY INTO @stage/path FROM (query): Parquet files of about MAX_FILE_SIZE bytes, none where there are no rows."""
    if not re.search(r"HEADER\s*=\s*TRUE", match["options"], re.I):
        raise Refused("000603", "unloading without HEADER = TRUE gives columns other names", "XX000")
    limit = int(re.search(r"MAX_FILE_SIZE\s*=\s*(\d+)", match["options"], re.I)[1])  # type: ignore[index]
    run = session.connection.cursor()
    run.execute(match["query"], server=True)
    table: pa.Table = run._arrow_table  # noqa: SLF001
    directory = directory_of(session, match["stage"], match["path"])
    os.makedirs(directory, exist_ok=True)
    per_file = max(1, table.num_rows * limit // max(1, table.nbytes))
    written = 0
    for number, start in enumerate(range(0, table.num_rows, per_file)):
        path = os.path.join(directory, f"data_0_{number}_0.snappy.parquet")
        pq.write_table(table.slice(start, per_file), path, compression="snappy")
        written += os.path.getsize(path)
    counts = {"rows_unloaded": table.num_rows, "input_bytes": table.nbytes, "output_bytes": written}
    return result([fixed(name) for name in counts], [[str(value) for value in counts.values()]])


def fetch(session: Session, match: re.Match[str]) -> dict[str, Any]:
    """GET @stage/path: the driver copies the files by itself."""
    directory = directory_of(session, match["stage"], match["path"])
    files = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return {
        "command": "DOWNLOAD",
        "src_locations": files,
        "localLocation": re.sub(r"\\(.)", r"\1", match["folder"]),
        "stageInfo": {"locationType": "LOCAL_FS", "location": directory, "creds": {}},
        "parallel": 4,
    }


def remove(session: Session, match: re.Match[str]) -> dict[str, Any]:
    directory = directory_of(session, match["stage"], match["path"])
    files = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    shutil.rmtree(directory, ignore_errors=True)
    return result([text("name"), text("result")], [[name, "removed"] for name in files])


# ---- the wire -------------------------------------------------------------------------------------------------------------------------


def rowset(table: pa.Table, columns: list[Any]) -> list[list[str | None]]:
    """Rows as an account spells them in JSON."""
    spelled = [spell(column.to_pylist(), info["type"]) for column, info in zip(table.columns, columns, strict=False)]
    return [list(row) for row in zip(*spelled, strict=True)]


def spell(values: list[Any], kind: str) -> list[str | None]:
    def one(value: Any) -> str | None:
        match value:
            case None:
                return None
            case bool():
                return "1" if value else "0"
            case bytes():
                return value.hex().upper()
            case datetime.datetime():
                micros = (value.replace(tzinfo=None) - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
                seconds = f"{micros // 1_000_000}.{micros % 1_000_000:06d}000"
                return f"{seconds} 1440" if kind == "timestamp_tz" else seconds
            case datetime.date():
                return str((value - datetime.date(1970, 1, 1)).days)
            case _:
                return str(value)

    return [one(value) for value in values]


def text(name: str) -> dict[str, Any]:
    return {"name": name, "type": "text", "nullable": True, "length": 16777216, "byteLength": 16777216, "scale": None, "precision": None}


def fixed(name: str) -> dict[str, Any]:
    return {"name": name, "type": "fixed", "nullable": True, "length": None, "byteLength": None, "scale": 0, "precision": 38}


async def body_of(request: Request) -> dict[str, Any]:
    body = await request.body()
    return json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)


def token_of(request: Request) -> str:
    return request.headers.get("Authorization", "").removeprefix('Snowflake Token="').removesuffix('"')


def reply(data: Any) -> Response:
    return json_response({"data": data, "code": None, "message": None, "success": True})


def refusal(refused: Refused) -> Response:
    data = {"errorCode": refused.code, "sqlState": refused.sqlstate, "queryId": secrets.token_hex(16)}
    return json_response({"data": data, "code": refused.code, "message": refused.message, "success": False})


def json_response(content: Any) -> Response:
    return Response(orjson.dumps(content, default=str), media_type="application/json")


# ---- for tests ------------------------------------------------------------------------------------------------------------------------


async def statements(_: Request) -> Response:
    """The statements since the last time, and how many sessions are open."""
    seen, STATEMENTS[:] = list(STATEMENTS), []
    return json_response({"statements": seen, "sessions": len(SESSIONS), "stagedFiles": sum(len(files) for _, _, files in os.walk(stages.LOCAL_BUCKET_PATH))})


def main() -> None:
    global ACCOUNT
    with open(sys.argv[1], encoding="utf-8") as file:
        ACCOUNT = Account(**json.load(file))
    setup = ENGINE.connect()
    setup.cursor().execute(f"CREATE DATABASE {ACCOUNT.database}")
    accepted = Route("/telemetry/send", lambda _: reply(None), methods=["POST"])
    app = Starlette(
        routes=[
            Route("/session/v1/login-request", login, methods=["POST"]),
            Route("/session", end_session, methods=["POST"]),
            Route("/session/heartbeat", end_session, methods=["POST"]),
            Route("/queries/v1/query-request", query, methods=["POST"]),
            Route("/queries/v1/abort-request", lambda _: reply(None), methods=["POST"]),
            Route("/statements", statements, methods=["POST"]),
            accepted,
        ]
    )
    keep_quotes_in_names()
    keep_38_digits()
    describe_temporary_tables()
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    try:
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)).run(sockets=[listener])
    finally:
        shutil.rmtree(stages.LOCAL_BUCKET_PATH, ignore_errors=True)


def end_with_parent() -> None:
    """Standard input is a pipe that nobody writes to: it ends when the process that started this one does."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
