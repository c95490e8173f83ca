"""librdkafka's mock of a Kafka cluster, with what a test wants of it over HTTP: the first line that is printed names the brokers,
the second the port. Clients that read and write are librdkafka's own.

GET /records/TOPIC        what lies there, as a list
GET /partition/TOPIC/KEY  where Kafka's own clients would put a record of this key
PUT /topic/NAME/COUNT     a topic with so many partitions
PUT /topic-error/NAME/N   what the topic is answered with by its code, 0: nothing
PUT /errors/N,N,…         how the next requests to produce are answered
PUT /down, PUT /up        all brokers
"""

import ctypes
import glob
import http.server
import json
import os
import sys

import confluent_kafka

BROKERS = 3
PRODUCE = 0

library = os.path.join(os.path.dirname(confluent_kafka.__file__), "../confluent_kafka.libs/librdkafka*")
rdkafka = ctypes.CDLL(glob.glob(library)[0])
pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int


def function(name, result, *arguments):
    found = getattr(rdkafka, name)
    found.restype, found.argtypes = result, arguments
    return found


def cluster():
    error = ctypes.create_string_buffer(512)
    new = function("rd_kafka_new", pointer, number, pointer, text, ctypes.c_size_t)
    handle = new(0, function("rd_kafka_conf_new", pointer)(), error, len(error))
    assert handle, error.value
    return function("rd_kafka_mock_cluster_new", pointer, pointer, number)(handle, BROKERS)


mock = cluster()
bootstraps = function("rd_kafka_mock_cluster_bootstraps", text, pointer)(mock).decode()
create = function("rd_kafka_mock_topic_create", number, pointer, text, number, number)
topic_error = function("rd_kafka_mock_topic_set_error", None, pointer, text, number)
push_errors = function(
    "rd_kafka_mock_push_request_errors_array", None, pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)
)
set_down = function("rd_kafka_mock_broker_set_down", number, pointer, ctypes.c_int32)
set_up = function("rd_kafka_mock_broker_set_up", number, pointer, ctypes.c_int32)


def records(topic):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstraps, "group.id": "reader", "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    found = []
    for partition in partitions:
        place = confluent_kafka.TopicPartition(topic, partition, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        for _ in range(end):
            record = consumer.poll(10)
            assert record is not None and record.error() is None, record and record.error()
            found.append(as_json(record))
    consumer.close()
    return found


def as_json(record):
    headers = {name: value.decode() for name, value in record.headers() or []}
    key, value = record.key().decode(), record.value().decode()
    return {"partition": record.partition(), "key": key, "value": value, "headers": headers, "time": record.timestamp()[1]}


def partition(topic, key):
    where = []
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstraps, "partitioner": "murmur2", "log_level": 0})
    producer.produce(topic, b"", key, on_delivery=lambda error, record: where.append(record.partition()))
    producer.flush(10)
    return where[0]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        what, *rest = self.path[1:].split("/")
        self.answer({"records": records, "partition": partition}[what](*rest))

    def do_PUT(self):
        what, *rest = self.path[1:].split("/")
        if what == "topic":
            self.answer(create(mock, rest[0].encode(), int(rest[1]), BROKERS))
        elif what == "topic-error":
            self.answer(topic_error(mock, rest[0].encode(), int(rest[1])))
        elif what == "errors":
            codes = [int(code) for code in rest[0].split(",")]
            self.answer(push_errors(mock, PRODUCE, len(codes), (number * len(codes))(*codes)))
        else:
            change = {"down": set_down, "up": set_up}[what]
            self.answer([change(mock, broker + 1) for broker in range(BROKERS)])

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(bootstraps, server.server_address[1], sep="\n", flush=True)
sys.stdout.flush()
server.serve_forever()
