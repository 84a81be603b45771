SELECT id FROM agents FOR UPDATE;
SELECT id FROM agents LIMIT 1 + 1;
SELECT a, i FROM agents a JOIN interactions i ON i.recipient_id = a.id AND i.content = a.name;
SELECT a.ctid, i.ctid FROM agents a JOIN interactions i ON i.recipient_id = a.id;
SELECT a.id FROM agents a WHERE EXISTS (SELECT 1 FROM interactions i WHERE i.recipient_id = a.id AND ctid IS NULL);
