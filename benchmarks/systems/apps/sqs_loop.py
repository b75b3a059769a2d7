"""Receive one, work, send one, delete one: python sqs_loop.py ENDPOINT SOURCE SINK."""

import json
import sys

import boto3


def main() -> None:
    sqs = boto3.client("sqs", endpoint_url=sys.argv[1])
    source, sink = (sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in sys.argv[2:])
    while True:
        for message in sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=1, WaitTimeSeconds=20).get("Messages", ()):
            envelope = json.loads(message["Body"])
            envelope["route"]["current"] += 1
            sqs.send_message(QueueUrl=sink, MessageBody=json.dumps(envelope))
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main()
