import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.util.List;
import org.h2.mvstore.MVStore;

/**
 * Serves a file on a port of loopback until SIGTERM or the end of its input.
 *
 * <p>mongo-java-server says that it is MongoDB 5.0, and is not in three things: its wire version is
 * that of 4.2, which today's clients refuse; it knows no hello; and it acknowledges a journaled
 * write up to a second before the write is in its file. "plain" serves it with the last two,
 * anything else without.
 */
public class Serve {
    public static void main(String[] arguments) throws Exception {
        MVStore store = MVStore.open(arguments[0]);
        H2Backend backend = arguments[2].equals("plain") ? new H2Backend(store) : new Mended(store);
        MongoServer server = new MongoServer(backend.version(new Five()));
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        System.out.println("serving");
        System.in.read(); // a test that was killed leaves no server behind
        System.exit(0);
    }

    private static final class Five implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    }

    private static final class Mended extends H2Backend {
        private static final List<String> WRITES =
                List.of("insert", "update", "delete", "findAndModify", "create", "drop");

        Mended(MVStore store) {
            super(store);
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            Document answer = super.handleMessage(message);
            if (WRITES.contains(message.getDocument().keySet().iterator().next())) {
                commit();
            }
            return answer;
        }

        @Override
        public Document handleCommand(
                Channel channel, String database, String command, Document query) {
            if (!command.equalsIgnoreCase("hello")) {
                return super.handleCommand(channel, database, command, query);
            }
            Document answer = super.handleCommand(channel, database, "isMaster", query);
            return new Document(answer).append("isWritablePrimary", answer.get("ismaster"));
        }
    }
}
