// PostgreSQL's JDBC driver against the URL in args[0]: prints a transcript that must be the same direct and through Pointsman.
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.net.URI;
import java.security.MessageDigest;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class JdbcDriver {
  static final String SCHEMA = "driver_jdbc";
  static String url;
  static final Properties login = new Properties();

  interface Body { void run() throws Exception; }

  static void show(String label, Object... values) {
    StringJoiner line = new StringJoiner(" ", label + ": ", "");
    for (Object v : values) line.add(v instanceof Object[] a ? Arrays.deepToString(a) : String.valueOf(v));
    System.out.println(line);
  }

  static void failing(String label, Body body) {
    try {
      body.run();
      show(label, "no error");
    } catch (SQLException error) {
      for (Throwable t = error; t != null; t = t instanceof SQLException s ? s.getNextException() : null) {
        ServerErrorMessage m = t instanceof PSQLException p ? p.getServerErrorMessage() : null;
        if (m == null) show(label, ((SQLException) t).getSQLState(), t.getMessage());
        else show(label, m.getSeverity(), m.getSQLState(), m.getMessage(), m.getDetail(), m.getHint(), m.getPosition(), m.getSchema(),
            m.getTable(), m.getColumn(), m.getConstraint(), m.getWhere());
      }
    } catch (Exception error) {
      show(label, error);
    }
  }

  static Connection connect(String... more) throws SQLException {
    Properties p = new Properties();
    p.putAll(login);
    p.put("currentSchema", SCHEMA);
    for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
    return DriverManager.getConnection(url, p);
  }

  static void run(Connection c, String sql) throws SQLException {
    try (Statement s = c.createStatement()) { s.execute(sql); }
  }

  static List<List<Object>> rows(ResultSet r) throws SQLException {
    List<List<Object>> all = new ArrayList<>();
    while (r.next()) {
      List<Object> row = new ArrayList<>();
      for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) row.add(r.getObject(i));
      all.add(row);
    }
    return all;
  }

  static List<List<Object>> query(Connection c, String sql, Object... values) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
      return rows(s.executeQuery());
    }
  }

  static String md5(byte[] data) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(data));
  }

  static void transactions(Connection c) throws Exception {
    run(c, "CREATE TABLE account (id int PRIMARY KEY, amount int CHECK (amount >= 0))");
    run(c, "INSERT INTO account VALUES (1, 10), (2, 20)");
    c.setAutoCommit(false);
    run(c, "UPDATE account SET amount = 0");
    c.rollback();
    run(c, "UPDATE account SET amount = amount + 1 WHERE id = 1");
    Savepoint s = c.setSavepoint("here");
    failing("savepoint", () -> run(c, "UPDATE account SET amount = -1 WHERE id = 2"));
    failing("aborted", () -> run(c, "SELECT 1"));
    c.rollback(s);
    c.releaseSavepoint(s);
    show("inside", query(c, "SELECT sum(amount) FROM account"));
    c.commit();
    failing("zero", () -> run(c, "SELECT 1/0"));
    failing("commit of a failed one", c::commit);
    c.rollback();
    for (int level : new int[] {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE}) {
      c.setTransactionIsolation(level);
      show("isolation", c.getTransactionIsolation(), query(c, "SELECT count(*) FROM account"));
      c.rollback();
    }
    c.setReadOnly(true);
    failing("read only", () -> run(c, "DELETE FROM account"));
    c.rollback();
    show("reads", query(c, "SELECT * FROM account ORDER BY id"));
    c.rollback();
    c.setReadOnly(false);
    c.setAutoCommit(true);
    try (Statement st = c.createStatement()) {
      boolean more = st.execute("SELECT 1; UPDATE account SET amount = 5; SELECT 2");
      StringJoiner seen = new StringJoiner(" ");
      while (more || st.getUpdateCount() != -1) {
        seen.add(more ? rows(st.getResultSet()).toString() : "updated " + st.getUpdateCount());
        more = st.getMoreResults();
      }
      show("script", seen);
    }
  }

  static void batches(Connection c) throws Exception {
    run(c, "CREATE TABLE batch (id int PRIMARY KEY, word text)");
    try (PreparedStatement s = c.prepareStatement("INSERT INTO batch VALUES (?, ?)")) {
      for (int i = 0; i < 1000; i++) { s.setInt(1, i); s.setString(2, "w" + i); s.addBatch(); }
      show("batch", Arrays.stream(s.executeBatch()).sum());
      for (int i : new int[] {5000, 1, 5001}) { s.setInt(1, i); s.setString(2, "x"); s.addBatch(); }
      failing("batch error", s::executeBatch);
    }
    show("after", query(c, "SELECT count(*), count(*) FILTER (WHERE id >= 5000) FROM batch"));
    try (Statement s = c.createStatement()) {
      s.addBatch("INSERT INTO batch VALUES (6000, 'a')");
      s.addBatch("UPDATE batch SET word = 'b' WHERE id >= 5000");
      s.addBatch("DELETE FROM batch WHERE id = 6000");
      show("statements", Arrays.toString(s.executeBatch()));
    }
    try (Connection own = connect("reWriteBatchedInserts", "true");
        PreparedStatement s = own.prepareStatement("INSERT INTO batch VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 7000; i < 7300; i++) { s.setInt(1, i); s.setString(2, null); s.addBatch(); }
      s.executeBatch();
      show("generated", rows(s.getGeneratedKeys()).size());
    }
  }

  static void prepared(Connection c) throws Exception {
    run(c, "CREATE TABLE shape (a int, b text)");
    run(c, "INSERT INTO shape VALUES (1, 'one')");
    try (PreparedStatement s = c.prepareStatement("SELECT * FROM shape WHERE a = ?")) {
      s.unwrap(PGStatement.class).setPrepareThreshold(2);
      for (int i = 0; i < 5; i++) {
        s.setInt(1, 1);
        show("prepared", rows(s.executeQuery()), s.unwrap(PGStatement.class).isUseServerPrepare());
      }
      run(c, "ALTER TABLE shape ADD c int DEFAULT 7");
      failing("after ddl", () -> show("rows", rows(s.executeQuery())));
      failing("once more", () -> show("rows", rows(s.executeQuery())));
      c.setAutoCommit(false);
      show("in transaction", rows(s.executeQuery()));
      run(c, "ALTER TABLE shape ADD d int DEFAULT 8");
      failing("ddl in transaction", () -> show("rows", rows(s.executeQuery())));
      c.rollback();
      c.setAutoCommit(true);
    }
    long total = 0;
    for (int round = 0; round < 7; round++)
      for (int i = 0; i < 300; i++) total += (Integer) query(c, "SELECT ?::int + " + i, round).get(0).get(0);
    show("many", total);
    try (PreparedStatement s = c.prepareStatement("SELECT a, b FROM shape WHERE a = ? AND b = ?")) {
      ParameterMetaData p = s.getParameterMetaData();
      ResultSetMetaData m = s.getMetaData();
      show("metadata", p.getParameterTypeName(1), p.getParameterTypeName(2), m.getColumnName(1), m.getColumnTypeName(2));
    }
    run(c, "PREPARE twice (int) AS SELECT $1 * 2");
    show("sql", query(c, "EXECUTE twice(21)"));
    run(c, "DEALLOCATE twice");
  }

  static void fetches(Connection c) throws Exception {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("SELECT g FROM generate_series(1, ?) g")) {
      s.setFetchSize(17);
      for (int limit : new int[] {0, 16, 17, 18, 1000}) {
        s.setInt(1, limit);
        show("fetched", limit, rows(s.executeQuery()).size());
      }
      try (PreparedStatement other = c.prepareStatement("SELECT ?::int * 10")) {
        ResultSet r = s.executeQuery();
        int sum = 0;
        for (int i = 0; i < 60 && r.next(); i++) {
          other.setInt(1, r.getInt(1));
          ResultSet inner = other.executeQuery();
          inner.next();
          sum += inner.getInt(1);
        }
        show("interleaved", sum);
      }
      s.setMaxRows(5);
      show("limited", rows(s.executeQuery()));
    }
    try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
      run(c, "CREATE TABLE scrolled (id int PRIMARY KEY, n int)");
      run(c, "INSERT INTO scrolled SELECT g, g FROM generate_series(1, 5) g");
      ResultSet r = s.executeQuery("SELECT id, n FROM scrolled ORDER BY id");
      r.absolute(3); r.updateInt(2, 99); r.updateRow(); r.first();
      show("scrolled", r.getInt(2), query(c, "SELECT n FROM scrolled WHERE id = 3"));
    }
    run(c, "CREATE FUNCTION pair(IN a int, OUT b int, OUT c refcursor) AS $$ BEGIN b := a + 1; OPEN c FOR SELECT a, b; END $$ LANGUAGE plpgsql");
    try (CallableStatement s = c.prepareCall("{call pair(?, ?, ?)}")) {
      s.setInt(1, 4);
      s.registerOutParameter(2, Types.INTEGER);
      s.registerOutParameter(3, Types.OTHER);
      s.execute();
      show("call", s.getInt(2), rows((ResultSet) s.getObject(3)));
    }
    c.commit();
    c.setAutoCommit(true);
    c.setHoldability(ResultSet.HOLD_CURSORS_OVER_COMMIT);
  }

  static void copies(Connection c) throws Exception {
    run(c, "CREATE TABLE copied (id int, word text)");
    CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
    StringBuilder data = new StringBuilder();
    for (int i = 0; i < 20000; i++) data.append(i).append("\tword ").append(i).append('\n');
    show("in", m.copyIn("COPY copied FROM STDIN", new StringReader(data.toString())));
    StringWriter out = new StringWriter();
    show("out", m.copyOut("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT", out), md5(out.toString().getBytes("UTF-8")));
    failing("bad row", () -> m.copyIn("COPY copied FROM STDIN", new StringReader("x\ty\n")));
    var in = m.copyIn("COPY copied FROM STDIN");
    in.writeToCopy("1\tx\n".getBytes(), 0, 4);
    failing("given up", in::cancelCopy);
    show("count", query(c, "SELECT count(*) FROM copied"));
  }

  static void cancels(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      ScheduledExecutorService later = Executors.newSingleThreadScheduledExecutor();
      later.schedule(() -> { s.cancel(); return null; }, 300, TimeUnit.MILLISECONDS);
      failing("cancelled", () -> s.execute("SELECT pg_sleep(20)"));
      later.shutdown();
      s.setQueryTimeout(1);
      failing("driver's timeout", () -> s.execute("SELECT pg_sleep(20)"));
      s.setQueryTimeout(0);
      show("after", query(c, "SELECT 1"));
      s.execute("SET statement_timeout = '100ms'");
      failing("server's timeout", () -> s.execute("SELECT pg_sleep(20)"));
    }
  }

  static void notices(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      s.execute("DO $$ BEGIN RAISE NOTICE 'one' USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'two'; END $$");
      for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) show("notice", w.getSQLState(), w.getMessage());
    }
  }

  static void listens(Connection c) throws Exception {
    try (Connection other = connect()) {
      run(c, "LISTEN driver_channel");
      run(other, "SELECT pg_notify('driver_channel', 'hello')");
      run(other, "NOTIFY driver_channel, 'again'");
      List<String> heard = new ArrayList<>();
      for (int i = 0; i < 10 && heard.size() < 2; i++) {
        PGNotification[] some = c.unwrap(PGConnection.class).getNotifications(1000);
        for (PGNotification n : some == null ? new PGNotification[0] : some) heard.add(n.getName() + " " + n.getParameter());
      }
      run(c, "UNLISTEN *");
      run(other, "NOTIFY driver_channel, 'unheard'");
      PGNotification[] none = c.unwrap(PGConnection.class).getNotifications(300);
      show("heard", heard, none == null ? 0 : none.length);
    }
  }

  static void large(Connection c) throws Exception {
    String big = "x".repeat(10_000_000) + "é";
    var row = query(c, "SELECT ?::text, length(?::text)", big, big).get(0);
    show("large", md5(((String) row.get(0)).getBytes("UTF-8")), row.get(1));
    byte[] data = new byte[10_240_000];
    Arrays.fill(data, (byte) 7);
    run(c, "CREATE TABLE blob (data bytea)");
    try (PreparedStatement s = c.prepareStatement("INSERT INTO blob VALUES (?)")) { s.setBytes(1, data); s.execute(); }
    show("bytea", Arrays.equals((byte[]) query(c, "SELECT data FROM blob").get(0).get(0), data));
    show("rows", query(c, "SELECT g, repeat('r', 1000) FROM generate_series(1, 20000) g").size());
  }

  static void types(Connection c) throws Exception {
    String sql = "SELECT ?::bool, ?::int8, ?::float8, ?::numeric, ?::text, ?::date, ?::timestamptz, '{1,NULL,3}'::int[]::text, '{\"a\": [1, null]}'::jsonb::text, "
        + "'9c5b94b1-35ad-49bb-b118-8e8fc24abf80'::uuid, '3 days 4 seconds'::interval::text, NULL::text, 'NaN'::float8, '\\x00ff'::bytea::text";
    for (String mode : new String[] {"true", "false"})
      try (Connection own = connect("binaryTransfer", mode, "prepareThreshold", "-1", "preferQueryMode", "extended")) {
        for (int i = 0; i < 2; i++)
          show("types", mode, query(own, sql, true, 1L << 40, 1.5, new BigDecimal("12345678901234567890.123"), "Ünïcødé \\ ' \"",
              java.sql.Date.valueOf("2024-02-29"), OffsetDateTime.parse("2024-02-29T12:30:01.000005Z")));
        Array a = own.createArrayOf("text", new String[][] {{"a", "b"}, {"c", null}});
        show("array", query(own, "SELECT ?::text[]", a));
      }
    try (Connection own = connect("preferQueryMode", "simple")) {
      show("simple", query(own, "SELECT ?::int + 1, ?::text", 1, "it's"));
    }
  }

  static void errors(Connection c) throws Exception {
    run(c, "CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL)");
    run(c, "CREATE TABLE child (id int REFERENCES parent)");
    for (String sql : new String[] {"SELEC 1", "SELECT * FROM nothing_here", "SELECT nothing FROM parent", "INSERT INTO parent VALUES (1, NULL)",
        "INSERT INTO child VALUES (5)", "SELECT 1/0", "SET work_mem = 'much'", "SELECT 'x'::int"})
      failing(sql, () -> run(c, sql));
    failing("value", () -> query(c, "SELECT ?::int", "many"));
    try (Statement s = c.createStatement()) { show("empty", s.execute("")); }
  }

  static void sessions(Connection c) throws Exception {
    run(c, "SET TimeZone = 'Asia/Kathmandu'");
    try (Connection other = connect("ApplicationName", "other", "options", "-c work_mem=123kB")) {
      show("own", query(c, "SELECT '2024-01-01 00:00Z'::timestamptz::text, current_setting('TimeZone')"));
      show("other", query(other, "SELECT current_setting('application_name'), current_setting('work_mem')"),
          query(other, "SHOW search_path"));
      c.setClientInfo("ApplicationName", "renamed");
      show("renamed", query(c, "SHOW application_name"), query(other, "SHOW application_name"));
      run(c, "CREATE TEMP TABLE mine (n int)");
      run(c, "INSERT INTO mine VALUES (1)");
      show("temp", query(c, "SELECT * FROM mine"));
      failing("other's", () -> query(other, "SELECT * FROM mine"));
      c.setSchema("public");
      show("schema", c.getSchema(), other.getSchema());
    }
    DatabaseMetaData d = c.getMetaData();
    show("metadata", rows(d.getTables(null, SCHEMA, "a%", null)).size(), d.getDatabaseMajorVersion() > 13, c.isValid(2));
  }

  static void many(Connection c) throws Exception {
    run(c, "CREATE TABLE work (who int, n int)");
    ExecutorService threads = Executors.newFixedThreadPool(16);
    List<Future<Long>> each = new ArrayList<>();
    for (int who = 0; who < 16; who++) {
      int me = who;
      each.add(threads.submit(() -> {
        try (Connection own = connect("prepareThreshold", "2")) {
          long seen = 0;
          for (int i = 0; i < 20; i++) {
            own.setAutoCommit(i % 2 == 0);
            try (PreparedStatement s = own.prepareStatement("INSERT INTO work VALUES (?, ?)")) { s.setInt(1, me); s.setInt(2, i); s.execute(); }
            if (i % 2 != 0) own.commit();
            seen = (Long) query(own, "SELECT count(*) FROM work WHERE who = ?", me).get(0).get(0);
            if (i % 2 != 0) own.commit();
            if (seen != i + 1) throw new IllegalStateException(me + " wrote " + (i + 1) + " rows and sees " + seen);
          }
          return seen;
        }
      }));
    }
    for (Future<Long> f : each) f.get();
    threads.shutdown();
    show("many", query(c, "SELECT count(*) FROM work"));
  }

  interface Part { void run(Connection c) throws Exception; }

  public static void main(String[] args) throws Exception {
    URI uri = URI.create(args[0]);
    String[] user = uri.getUserInfo().split(":");
    url = "jdbc:postgresql://" + uri.getHost() + ":" + uri.getPort() + uri.getPath();
    login.put("user", user[0]);
    login.put("password", user.length > 1 ? user[1] : "");
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    try (Connection c = DriverManager.getConnection(url, login)) {
      run(c, "DROP SCHEMA IF EXISTS " + SCHEMA + " CASCADE; CREATE SCHEMA " + SCHEMA);
    }
    List<String> failed = new ArrayList<>();
    Map<String, Part> parts = new LinkedHashMap<>();
    parts.put("transactions", JdbcDriver::transactions); parts.put("batches", JdbcDriver::batches);
    parts.put("prepared", JdbcDriver::prepared); parts.put("fetches", JdbcDriver::fetches);
    parts.put("copies", JdbcDriver::copies); parts.put("cancels", JdbcDriver::cancels);
    parts.put("notices", JdbcDriver::notices); parts.put("listens", JdbcDriver::listens);
    parts.put("large", JdbcDriver::large); parts.put("types", JdbcDriver::types); parts.put("errors", JdbcDriver::errors);
    parts.put("sessions", JdbcDriver::sessions); parts.put("many", JdbcDriver::many);
    for (var part : parts.entrySet()) {
      System.out.println("== " + part.getKey());
      try (Connection c = connect()) {
        part.getValue().run(c);
      } catch (Exception error) {
        failed.add(part.getKey());
        show("part failed", error);
      }
    }
    try (Connection c = DriverManager.getConnection(url, login)) { run(c, "DROP SCHEMA " + SCHEMA + " CASCADE"); }
    if (!failed.isEmpty()) throw new IllegalStateException("failed: " + failed);
  }
}
