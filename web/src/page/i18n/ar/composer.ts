import type { Words } from "../words.ts";

export const composer: Words["composer"] = {
  message: "الرسالة",
  placeholder: "اسأل عن شيء…",
  send: "إرسال",
  stop: "إيقاف",
  keys: "يرسل مفتاح الإدخال، ويبدأ العالي مع الإدخال سطرًا جديدًا، ويوقف مفتاح الهروب الإجابة.",
  keysWithCtrl:
    "يرسل مفتاح التحكم مع الإدخال، ويبدأ الإدخال سطرًا جديدًا، ويوقف مفتاح الهروب الإجابة.",
  tools: "الأدوات",
  toolsOn: (count) => `الأدوات، المفعَّل منها ${count}`,
  options: "التعليمات والمعاملات",
  presets: "الإعدادات الجاهزة",
};
