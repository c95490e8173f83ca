import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Starts one OpenSearch node on loopback from the server's library: OpenSearchNode FOLDER PORT [SETTING=VALUE…].
 *
 * By reflection, since the library's classes are not for those who compile against it.
 */
public final class OpenSearchNode {
    private static final String[] PLUGINS = {
        "org.opensearch.transport.Netty4Plugin",
        "org.opensearch.index.reindex.ReindexPlugin",
        "org.opensearch.index.mapper.MapperExtrasPlugin",
    };

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Class<?> settingsClass = Class.forName("org.opensearch.common.settings.Settings");
        Object builder = settingsClass.getMethod("builder").invoke(null);
        Method put = builder.getClass().getMethod("put", String.class, String.class);
        for (Map.Entry<String, String> setting : settings(home, arguments).entrySet()) {
            put.invoke(builder, setting.getKey(), setting.getValue());
        }
        Object settings = builder.getClass().getMethod("build").invoke(builder);

        Class<?> environmentClass = Class.forName("org.opensearch.env.Environment");
        Supplier<String> name = () -> "node";
        Object environment = Class.forName("org.opensearch.node.InternalSettingsPreparer")
            .getMethod("prepareEnvironment", settingsClass, Map.class, Path.class, Supplier.class)
            .invoke(null, settings, new HashMap<>(), home.resolve("config"), name);
        List<Class<?>> plugins = new ArrayList<>();
        for (String plugin : PLUGINS) {
            plugins.add(Class.forName(plugin));
        }
        Constructor<?> constructor = Class.forName("org.opensearch.node.Node")
            .getDeclaredConstructor(environmentClass, Collection.class, boolean.class);
        constructor.setAccessible(true);
        Object node = constructor.newInstance(environment, plugins, false);
        node.getClass().getMethod("start").invoke(node);
        Thread.currentThread().join();
    }

    private static Map<String, String> settings(Path home, String[] arguments) {
        Map<String, String> settings = new LinkedHashMap<>();
        settings.put("path.home", home.toString());
        settings.put("path.data", home.resolve("data").toString());
        settings.put("path.logs", home.resolve("logs").toString());
        settings.put("cluster.name", "tercel-test");
        settings.put("node.name", "node");
        settings.put("network.host", "127.0.0.1");
        settings.put("http.port", arguments[1]);
        settings.put("transport.port", "0");
        settings.put("discovery.type", "single-node");
        settings.put("http.type", "netty4");
        settings.put("transport.type", "netty4");
        settings.put("cluster.routing.allocation.disk.threshold_enabled", "false");
        for (String setting : List.of(arguments).subList(2, arguments.length)) {
            String[] parts = setting.split("=", 2);
            settings.put(parts[0], parts[1]);
        }
        return settings;
    }

    private OpenSearchNode() {}
}
